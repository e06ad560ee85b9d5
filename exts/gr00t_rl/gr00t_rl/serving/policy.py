# SPDX-License-Identifier: BSD-3-Clause
"""Network and processor as a policy: observations of several robots in, action chunks in the robot's units out.

The same numbers as in evaluation: on a CPU in float32 an actor's ``act_chunk`` returns the same chunk for the same
initial noise.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..gr00t import Gr00tNetwork, Gr00tProcessor, Statistics, generation
from ..gr00t.settings import PolicySettings
from .observation import LANGUAGE, NESTED_LANGUAGE, Observation, ObservationError, read_observation
from .wire import ModalityConfig

PROCESSORS = 8
"""Sets of instructions whose prompts are kept ready."""
DEFAULT_SIDE = 224
"""Side of the pictures of :meth:`ServedPolicy.example` where the settings say none [px]."""


class ServedPolicy:
    """A policy that answers requests.

    Args:
        network: Cut to one embodiment, on its device, in its type.
        tokenizer: Of the network.
        settings: How it is run.
        statistics: Of the network's files, see :meth:`Gr00tProcessor.read_statistics`.
        seed: Of the initial noise.

    Raises:
        ValueError: The settings do not fit the network.
    """

    def __init__(
        self,
        network: Gr00tNetwork,
        tokenizer: Any,
        settings: PolicySettings,
        statistics: Statistics | None,
        seed: int = 0,
    ) -> None:
        self.network, self.settings, self._tokenizer, self._statistics = network, settings, tokenizer, statistics
        self._of = generation(network.config.generation)
        head, modality = network.config.action_head, settings.modality
        known = self._of.Processor.known_embodiment(network.assets, modality.embodiment_tag)
        longest = min(head.action_horizon, known.steps or head.action_horizon)
        self.n_action_steps = settings.n_action_steps or longest
        if self.n_action_steps > longest:
            raise ValueError(f"n_action_steps is {self.n_action_steps}, but the network gives {longest}; set 1 to that")
        if modality.action_dim > head.action_dim:
            raise ValueError(
                f"modality.action has {modality.action_dim} dimensions, but the network gives {head.action_dim}"
            )
        self.num_steps = settings.num_inference_timesteps or head.num_inference_timesteps
        self.chunk_shape = (head.action_horizon, head.action_dim)
        # on the CPU, so that a seed means the same noise on every device
        self._generator = torch.Generator().manual_seed(seed)
        self._processors: OrderedDict[Any, Gr00tProcessor] = OrderedDict()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    # -- answers -------------------------------------------------------------------------------------------------------

    def get_action(self, data: Any) -> Any:
        """Answer a request, in the form that it has.

        Args:
            data: See :func:`~gr00t_rl.serving.observation.read_observation`.

        Returns:
            Of the flat form ``action.KEY`` -> float32 [H, dim], or [B, H, dim] for several robots. Of the nested form a
            list: a table KEY -> [B, H, dim], and an empty one.

        Raises:
            ObservationError: The policy does not take the observation.
        """
        observation = read_observation(data, self.settings)
        chunks = self.act(observation)
        if observation.nested:
            return [chunks, {}]
        return {f"action.{key}": chunk if observation.batched else chunk[0] for key, chunk in chunks.items()}

    @torch.inference_mode()
    def act(self, observation: Observation, noise: Tensor | None = None) -> dict[str, np.ndarray]:
        """Decide.

        Args:
            observation: Of B robots.
            noise: Initial noise x_0, float32 [B, horizon, action_dim]; drawn where None.

        Returns:
            Action key -> float32 [B, n_action_steps, dim], in the robot's units.

        Raises:
            ObservationError: Instructions that no prompt can be made of.
        """
        batch, device = len(observation.state), self.device
        texts = list(dict.fromkeys(observation.instructions))
        sizes = [(image.shape[1], image.shape[2]) for image in observation.images]
        processor = self._processor(texts, sizes)
        rows = batch if len(texts) == 1 else torch.tensor([texts.index(t) for t in observation.instructions])
        rows = rows if isinstance(rows, int) else rows.to(device)
        pixels = None
        if observation.images:
            # copied: what came off the wire is read-only memory of the message
            pixels = processor.images([torch.tensor(image, device=device) for image in observation.images])
        state = torch.tensor(observation.state, device=device)
        if noise is None:
            noise = self.settings.init_noise_scale * torch.randn(batch, *self.chunk_shape, generator=self._generator)
        chunk = self.network.decide(processor, pixels, rows, processor.state(state), noise.to(device), self.num_steps)
        modality = self.settings.modality
        actions = processor.action(chunk[:, : self.n_action_steps], modality.action_dim, state).float().cpu().numpy()
        return {name: np.ascontiguousarray(actions[..., key.start : key.end]) for name, key in modality.action.items()}

    def _processor(self, texts: list[str], sizes: list[tuple[int, int]]) -> Gr00tProcessor:
        """The processor of some instructions, its prompts tokenised; the last few are kept."""
        key = (tuple(texts), tuple(sizes))
        if key not in self._processors:
            try:
                self._processors[key] = self._of.Processor(
                    self.network.config,
                    self._tokenizer,
                    texts,
                    device=self.device,
                    modality=self.settings.modality,
                    statistics=self._statistics,
                    image_sizes=sizes,
                    assets=self.network.assets,
                )
            except ValueError as error:
                raise ObservationError(str(error)) from None
            if len(self._processors) > PROCESSORS:
                self._processors.popitem(last=False)
        self._processors.move_to_end(key)
        return self._processors[key]

    # -- what it says of itself ----------------------------------------------------------------------------------------

    def modality_config(self) -> dict[str, ModalityConfig]:
        """Return steps and keys of "video", "state", "action" and "language", in the form of the network's generation.

        N1.5's clients know keys with the part's name in front, N1.7's without.
        """
        modality, as_text = self.settings.modality, self.network.config.generation == "n1.5"
        language = LANGUAGE if as_text else NESTED_LANGUAGE

        def config(part: str, keys: Any, steps: int = 1) -> ModalityConfig:
            names = [f"{part}.{key}" if as_text else key for key in keys]
            return ModalityConfig(list(range(steps)), names, as_text)

        return {
            "video": config("video", modality.video),
            "state": config("state", modality.state),
            "action": config("action", modality.action, self.n_action_steps),
            "language": ModalityConfig([0], [language], as_text),
        }

    def describe(self) -> list[str]:
        """Return lines that say what requests must hold and what they get."""
        known, modality = self.settings.image_sizes, self.settings.modality
        sizes = {key: f"{known[key][0]}, {known[key][1]}" if key in known else "H, W" for key in modality.video}
        views = [f"video.{key} [1, {size}, 3]" for key, size in sizes.items()]
        states = [f"state.{key} [1, {part.dim}]" for key, part in modality.state.items()]
        actions = [f"action.{key} [{self.n_action_steps}, {part.dim}]" for key, part in modality.action.items()]
        return [
            f"takes:   {', '.join([*views, *states, LANGUAGE])}",
            f"gives:   {', '.join(actions)}",
            f"trained: {'; '.join(map(repr, self.settings.instructions[:4])) or 'on instructions that are not known'}",
        ]

    def example(self) -> Observation:
        """Return an observation that the policy takes: black pictures, a state of zeros."""
        known, modality = self.settings.image_sizes, self.settings.modality
        sizes = [known.get(key, (DEFAULT_SIDE, DEFAULT_SIDE)) for key in modality.video]
        images = [np.zeros((1, *size, 3), np.uint8) for size in sizes]
        texts = self.settings.instructions[:1] or ["Perform the default behavior."]
        return Observation(images, np.zeros((1, modality.state_dim), np.float32), texts)
