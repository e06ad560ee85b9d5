# SPDX-License-Identifier: BSD-3-Clause
"""Time our batched ``get_action`` against that of the released classes, as LeRobot 0.4.4 ships them.

    uv venv --python 3.12 lerobot_env
    uv pip install --python lerobot_env/bin/python lerobot==0.4.4 "transformers<5" peft timm einops dm-tree
    python source/standalone/benchmarks/released_get_action.py --released lerobot_env/bin/python

The released classes want transformers 4 and ours 5, so that theirs run in a process with the other environment's
Python. Both load the same random checkpoint in the official layout, get the same pictures, prompt, state and noise, and
must give the same actions before anything is timed. Each repetition times both, in an order that alternates; what
counts is the median over repetitions of the ratio theirs / ours. One thread each, float32, attention by torch's own
kernels in both. The figures are added to the study file ``--out``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

VIEWS, TEXT_TOKENS = 2, 16
TOLERANCE = 1e-4
"""Largest difference of normalised actions between the two, of weights and inputs that are the same."""


def make_inputs(sizes: dict[str, Any], batch: int) -> dict[str, torch.Tensor]:
    """Return the same inputs in both processes, for ``batch`` samples, and seed the noise that is drawn next."""
    generator = torch.Generator().manual_seed(batch)
    size, image_tokens = sizes["image_size"], VIEWS * sizes["tokens_per_image"]
    ids = torch.ones(batch, image_tokens + TEXT_TOKENS, dtype=torch.long)
    ids[:, :image_tokens] = sizes["image_token_index"]
    inputs = {
        "eagle_pixel_values": torch.rand(batch * VIEWS, 3, size, size, generator=generator) * 2 - 1,
        "eagle_input_ids": ids,
        "eagle_attention_mask": torch.ones_like(ids),
        "eagle_image_sizes": torch.full((batch * VIEWS, 2), size),
        "state": torch.randn(batch, 1, sizes["max_state_dim"], generator=generator),
        "state_mask": torch.ones(batch, 1, sizes["max_state_dim"], dtype=torch.bool),
        "embodiment_id": torch.zeros(batch, dtype=torch.long),
    }
    torch.manual_seed(batch)
    return inputs


def timed(function: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    """Return the seconds of a call and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


# -- the released classes, in a process of their own -------------------------------------------------------------------


def released_network(folder: Path) -> Any:
    """Return the released classes in a checkpoint's sizes; LeRobot's loader would ask the hub for its parts."""
    from lerobot.policies.groot import groot_n1  # pyright: ignore[reportMissingImports]
    from lerobot.policies.groot.eagle2_hg_model import (  # pyright: ignore[reportMissingImports]
        configuration_eagle2_5_vl,
        modeling_eagle2_5_vl,
    )
    from transformers import Qwen3ForCausalLM, SiglipVisionModel

    config = json.loads((folder / "config.json").read_text())
    eagle_config = configuration_eagle2_5_vl.Eagle25VLConfig(**json.loads((folder / "eagle_config.json").read_text()))
    for part in (eagle_config, eagle_config.vision_config, eagle_config.text_config):
        part._attn_implementation = "sdpa"  # the code's own choice needs a GPU
    vision = SiglipVisionModel(eagle_config.vision_config)
    language = Qwen3ForCausalLM(eagle_config.text_config)
    eagle = modeling_eagle2_5_vl.Eagle25VLForConditionalGeneration(eagle_config, vision, language)

    class Backbone(groot_n1.EagleBackbone):
        """The released one around parts that are there already."""

        def __init__(self, select_layer: int, **_: Any) -> None:
            torch.nn.Module.__init__(self)
            self.eagle_model, self.eagle_linear, self.select_layer = eagle, torch.nn.Identity(), select_layer
            language.model.layers = language.model.layers[:select_layer]
            self.set_trainable_parameters(False, False)

    stock, groot_n1.EagleBackbone = groot_n1.EagleBackbone, Backbone
    try:
        model = groot_n1.GR00TN15(groot_n1.GR00TN15Config(**config), local_model_path=str(folder))
    finally:
        groot_n1.EagleBackbone = stock
    model.compute_dtype = "float32"
    return model.float().eval()


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint by the names in its files."""
    from safetensors.torch import load_file

    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    return weights


def serve(folder: Path) -> None:
    """Answer requests on stdin, a JSON line each: the seconds of a call, and the actions as a file if asked for."""
    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr  # the released classes print
    model, sizes = released_network(folder), json.loads((folder / "sizes.json").read_text())
    model.load_state_dict(read_weights(folder), strict=True)
    inputs: dict[int, Any] = {}
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        batch = request["batch"]
        if batch not in inputs:
            inputs[batch] = make_inputs(sizes, batch)
        torch.manual_seed(batch)
        with torch.no_grad():
            seconds, actions = timed(lambda batch=batch: model.get_action(dict(inputs[batch]))["action_pred"])
        if "file" in request:
            torch.save(actions, request["file"])
        print(json.dumps(seconds), file=answers, flush=True)


# -- ours --------------------------------------------------------------------------------------------------------------


class Released:
    """The released classes in their process.

    Args:
        python: The Python of the environment that has them.
        folder: The checkpoint, and ``sizes.json``.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        command = [str(python), str(Path(__file__).resolve()), "--serve", str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._answer() != "ready":
            raise SystemExit(f"error: {python} does not run LeRobot's classes; see what it says above")

    def ask(self, **request: Any) -> float:
        """Let them run once; returns the seconds."""
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def make_checkpoint(folder: Path, tiny: bool) -> tuple[Any, dict[str, Any]]:
    """Write a random checkpoint; returns our network with its weights, and the sizes that inputs depend on."""
    from gr00t_rl.gr00t.n1d5.config import Gr00tN1d5Config
    from gr00t_rl.gr00t.n1d5.model import Gr00tN1d5

    middle = {
        "image_size": 112,
        "patch_size": 14,
        "vision_hidden_size": 384,
        "vision_layers": 6,
        "vision_heads": 6,
        "text_hidden_size": 512,
        "text_layers": 6,
        "text_heads": 8,
        "text_kv_heads": 4,
        "vocab_size": 2048,
        "hidden_size": 256,
        "input_embedding_dim": 384,
        "dit_layers": 6,
        "dit_heads": 8,
        "vl_layers": 2,
        "vl_heads": 8,
        "num_target_vision_tokens": 32,
    }
    config = Gr00tN1d5Config.tiny(**({} if tiny else middle))
    model = Gr00tN1d5.from_config(config)
    model.save_pretrained(folder)
    sizes = sizes_of(config)
    (folder / "sizes.json").write_text(json.dumps(sizes))
    return model, sizes


def sizes_of(config: Any) -> dict[str, Any]:
    """Return the sizes that inputs depend on."""
    return {
        "image_size": config.vision.image_size,
        "tokens_per_image": config.tokens_per_image,
        "image_token_index": config.image_token_index,
        "max_state_dim": config.action_head.max_state_dim,
    }


def compare(model: Any, released: Released, sizes: dict[str, Any], batch: int, repetitions: int) -> dict[str, Any]:
    """Check that both give the same actions at this batch size, then time them in turns."""
    inputs = make_inputs(sizes, batch)

    def ours() -> torch.Tensor:
        torch.manual_seed(batch)
        return model.get_action(inputs)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "actions.pt"
        released.ask(batch=batch, file=str(file))
        apart = (ours() - torch.load(file, weights_only=True)).abs().max().item()
    if not apart < TOLERANCE:
        raise SystemExit(f"error: at batch {batch} the actions differ by {apart:.2g}; nothing was timed")
    seconds: dict[str, list[float]] = {"ours": [], "released": []}
    for repetition in range(repetitions):
        for name in ("ours", "released") if repetition % 2 == 0 else ("released", "ours"):
            seconds[name].append(timed(ours)[0] if name == "ours" else released.ask(batch=batch))
    ratios = [theirs / own for own, theirs in zip(seconds["ours"], seconds["released"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    medians = {f"{name}_ms": round(1e3 * statistics.median(values), 2) for name, values in seconds.items()}
    result = {"batch": batch, **medians, "ratio": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}
    return {**result, "largest_difference": apart}


def main() -> None:
    """Compare at each batch size, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--released", type=Path, help="Python of the environment with LeRobot 0.4.4")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--tiny", action="store_true", help="the smallest network, to try the program")
    parser.add_argument("--out", type=Path, help="study file, such as docs/results/throughput.json")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve is not None:
        serve(args.serve)
        return
    if args.released is None:
        parser.error("--released is missing: the Python of an environment with LeRobot 0.4.4, see --help")
    from records import add_run

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model, sizes = make_checkpoint(Path(folder), args.tiny)
        parameters = sum(p.numel() for p in model.parameters())
        released = Released(args.released, Path(folder))
        results = [compare(model, released, sizes, batch, args.repetitions) for batch in args.batch_sizes]
        released.close()
    print(f"{parameters / 1e6:.1f} M parameters, one thread, float32\n")
    print("| batch | ours | released | released / ours (quartiles) |\n|---|---|---|---|")
    for r in results:
        low, high = r["quartiles"]
        print(f"| {r['batch']} | {r['ours_ms']} ms | {r['released_ms']} ms | {r['ratio']} ({low}–{high}) |")
    if args.out:
        content = {"date": str(date.today()), "parameters": parameters, "torch": torch.__version__, "results": results}
        add_run(args.out, f"released_get_action{'_tiny' if args.tiny else ''}", content)


if __name__ == "__main__":
    main()
