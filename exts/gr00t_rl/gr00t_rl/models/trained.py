# SPDX-License-Identifier: BSD-3-Clause
"""From a training checkpoint back to a whole GR00T network: base weights plus what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from ..gr00t import TINY, Gr00tNetwork, PolicySettings, tokenizer_assets
from ..gr00t.checkpoint import SETTINGS_FILE
from ..options import Gr00tActorOptions, declared
from ..utils.errors import ConfigurationError
from ..utils.foreign_files import check_regular, read_text
from ..utils.simulators import control_hz_of, picture_sizes_of, simulator_of
from .base_weights import fingerprint, load_base
from .trainable import LORA, make_trainable, merge_adapters

PREFIX = "model."


def trained_network(file: Path, base: str | None = None) -> Gr00tNetwork:
    """Rebuild the network of a run's checkpoint, cut to the embodiment that was trained.

    What was trained is float32, adapters merged; what was frozen has the type that it has on disk, so that a checkpoint
    in bfloat16 takes half the memory.

    Settings are read from ``params/agent.yaml`` and ``params/env.yaml``, which Isaac Lab's ``train`` writes beside the
    checkpoints. What only RL needs (critic, optimiser, learned exploration noise) is left out.

    Args:
        file: ``model_N.pt`` of a run with a GR00T actor.
        base: Folder or hub id of the base weights; the one the run was started with where None.

    Raises:
        ConfigurationError: If the file is no such checkpoint, its settings are not there, the base weights are others,
            or the run normalised states by running moments, for which a GR00T checkpoint has no place.
    """
    state, agent, env = _read(file)
    actor = agent["actor"]
    if any(name.startswith("state_normalizer.") for name in state):
        raise ConfigurationError(
            f"--checkpoint {file}: the run had agent.actor.obs_normalization=true, and a GR00T checkpoint cannot hold "
            "those moments; train without it, with statistics (agent.actor.modality) instead"
        )
    known = {name: actor[name] for name in declared(Gr00tActorOptions) if name in actor}
    source = base or actor["checkpoint"]
    options = Gr00tActorOptions(**known | {"checkpoint": source, "attn_implementation": "sdpa"})
    # only "tiny" depends on the pictures' size: without cameras it has none
    pictures = picture_sizes_of(env, (actor.get("modality") or {}).get("video") or {})
    side = next((height for height, _ in pictures.values()), env.get("camera_size", 64))
    sizes = [None, side] if source in TINY else [None]
    for size in sizes:
        model, tokens = load_base(options, None, size)
        if fingerprint(model) == state["base"]["fingerprint"]:
            break
    else:
        was = state["base"]["checkpoint"]
        raise ConfigurationError(
            f"--checkpoint {file} was trained on other base weights than {source!r} holds; give those with --base (the "
            f"run had agent.actor.checkpoint={was!r})"
        )
    how = state["base"]
    if "train" in how:  # with the adapters, if there are any; checkpoints from before them say nothing
        make_trainable(model, how["train"], how["lora_rank"], how["lora_alpha"])
    weights = {name.removeprefix(PREFIX): w for name, w in state.items() if name.startswith(PREFIX)}
    unknown = model.load_state_dict(weights, strict=False, assign=True).unexpected_keys
    if unknown:
        raise ConfigurationError(
            f"--checkpoint {file} holds {unknown[0]!r}, which the network does not have; export it with the version of "
            "gr00t_rl that wrote it"
        )
    if LORA in how.get("train", {}).values():
        merge_adapters(model)
    if "tokenizer_config.json" not in model.assets:  # random weights, or a base whose tokenizer lies elsewhere
        model.assets = {**model.assets, **tokenizer_assets(tokens)}
    model.assets.pop(SETTINGS_FILE, None)  # those of the base
    if settings := policy_settings(file):
        model.assets[SETTINGS_FILE] = settings.to_bytes()
    return model


def policy_settings(file: Path) -> PolicySettings | None:
    """Return how the policy of a run is run: its modality, and what the run's evaluations used.

    Args:
        file: ``model_N.pt`` of a run with a GR00T actor.

    Returns:
        The settings; None for a run without a modality, which takes an env's groups as they are.

    Raises:
        ConfigurationError: If the run's settings are not there, or make no sense.
    """
    agent, env = run_settings(file)
    actor = {name: agent["actor"].get(name, value.default) for name, value in declared(Gr00tActorOptions).items()}
    if actor["modality"] is None:
        return None
    texts = actor["instruction"] or _instructions(env)
    content = {name: actor[name] for name in ("modality", "embodiment_id", "n_action_steps")}
    content |= {name: actor[name] for name in ("num_inference_timesteps", "init_noise_scale")}
    content["instructions"] = [texts] if isinstance(texts, str) else list(texts or [])
    content["control_hz"] = control_hz_of(env)
    content["image_sizes"] = picture_sizes_of(env, actor["modality"]["video"])
    content["simulator"] = simulator_of(env)
    try:
        return PolicySettings.from_dict(content)
    except ValueError as error:
        raise ConfigurationError(f"{file.parent / 'params' / 'agent.yaml'}: agent.actor.{error}") from None


def _instructions(env: dict[str, Any]) -> Any:
    """What an env's policy is told: all of its instructions where it draws them, else its one."""
    return env.get("instructions") if env.get("sample_instructions") else env.get("instruction")


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the actor's state and the run's settings of agent and env."""
    try:
        check_regular(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigurationError(f"--checkpoint {file} does not exist; set the model_N.pt of a run") from None
    except Exception as error:  # torch raises what it likes for foreign and truncated files
        reason = " ".join(str(error).split())[:120]
        raise ConfigurationError(
            f"--checkpoint {file} cannot be read ({type(error).__name__}: {reason}); set another model_N.pt of the run"
        ) from None
    state = content.get("actor_state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or "base" not in state:
        raise ConfigurationError(
            f"--checkpoint {file} holds no GR00T actor; set the model_N.pt of a run whose agent has one"
        )
    return state, *run_settings(file)


def run_settings(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of agent and env of a run.

    Args:
        file: ``model_N.pt`` of the run.

    Raises:
        ConfigurationError: If they are not there or not readable.
    """
    settings = []
    for name in ("agent", "env"):
        path = file.parent / "params" / f"{name}.yaml"
        try:
            # Isaac Lab writes tuples and slices with Python tags: they are read as plain lists, or as nothing
            settings.append(yaml.load(read_text(path), Loader=_PlainLoader))
            if not isinstance(settings[-1], dict):
                raise ValueError("it holds no table")
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise ConfigurationError(
                f"{path}, which the run wrote beside its checkpoints, cannot be read ({error}); copy the whole folder"
            ) from None
    return settings[0], settings[1]


class _PlainLoader(yaml.SafeLoader):
    """Reads YAML without building Python objects."""


def _plain(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else None


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _plain)
