# SPDX-License-Identifier: BSD-3-Clause
"""Measure what GR00T N1.5 costs per decision and per update, and compare it with what the device can do.

    python source/standalone/benchmarks/policy_throughput.py --out docs/results/throughput.json  # full size, on a GPU
    python source/standalone/benchmarks/policy_throughput.py --out docs/results/throughput.json --tiny  # on a CPU

The network has random weights, which cost the same as trained ones. Timed per batch size, as medians after a warm-up:
``encode`` (frozen part: images and prompt to cached features), ``denoise`` (features to an action chunk), ``update``
(forward and backward of the action head, one denoising step scored, from cached features), ``update_all`` (all steps
scored) and ``update_pixels`` (the frozen part runs again for the update). Types are those of ``Gr00tActor``: on a GPU
bfloat16 for the frozen part and under autocast for the head, whose trained weights are float32; on a CPU float32. With
``--lora`` the updates train adapters of the DiT, and the frozen weights of the head stay in the network's type.

Shares are of what the device showed it can do, first in the same run: of the operations of a large matmul in the same
type, and of the bytes of a large copy. Bytes are the least that a call must move: every weight once per pass (an update
has three: forward, backward, gradients), pictures and features; activations are not counted. ``update_pixels`` over
``update`` is measured in pairs. The figures are added to the study file ``--out``, named after network and device; a
JSON line is appended to ``--lines`` after every figure.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import torch
from records import add_run, append_line

from gr00t_rl.gr00t import GENERATIONS, HeadContext, NetworkConfig, generation
from gr00t_rl.gr00t.flops import Flops
from gr00t_rl.gr00t.parts import part_modules
from gr00t_rl.gr00t.tokens import Grid, Prompt, TokenKinds

VIEWS, TEXT_TOKENS = 2, {"full": 48, "tiny": 8}


class Policy:
    """The network and one batch of inputs for it.

    Args:
        config: Sizes of the network.
        text_tokens: Prompt tokens besides those of the images.
        device: Where it runs.
        lora: Whether the updates train adapters of the DiT, not its weights.
    """

    def __init__(self, config: NetworkConfig, text_tokens: int, device: torch.device, lora: bool = False) -> None:
        self.config, self.device = config, device
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.of = generation(config.generation)
        self.grids, self.image_tokens = _views(config)
        self.tokens = self.image_tokens + text_tokens
        torch.manual_seed(0)
        with device:
            self.model = self.of.Network(config).eval()
        self.head = self.model.action_head
        self.head.slice_embodiment(0)
        self.model.requires_grad_(False)
        self.model.to(self.dtype)
        # what Gr00tActor trains, in float32
        if lora:
            from gr00t_rl.gr00t.adapters import add_adapters
            from gr00t_rl.gr00t.part_names import is_adapter

            add_adapters(self.model, ["dit"], 16, 16.0)
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(is_adapter(name))  # float32 already
        else:
            parts = part_modules(self.model)
            for module in (*parts["dit"], *parts["projectors"]):
                module.float().requires_grad_(True)
        self.lora, self.steps = lora, config.action_head.num_inference_timesteps

    def set_batch(self, batch: int) -> None:
        """Make random inputs for ``batch`` samples, and their features."""
        config, device = self.config, self.device
        ids = torch.ones(batch, self.tokens, dtype=torch.long, device=device)
        ids[:, : self.image_tokens] = config.image_token_index
        self.prompt, self.kinds = Prompt(ids, grids=self.grids), None
        if config.generation != "n1.5":
            from gr00t_rl.gr00t.n1d7.language import mrope_positions

            merge = config.vision.spatial_merge_size  # pyright: ignore[reportAttributeAccessIssue]
            positions = mrope_positions(ids[:1], None, self.grids, config.image_token_index, merge)
            self.prompt = Prompt(ids, position_ids=positions.expand(-1, batch, -1), grids=self.grids)
            self.kinds = TokenKinds.of(ids[0] == config.image_token_index)
        self.pixels = torch.rand(*_pixel_shape(config, batch, self.grids), device=device, dtype=self.dtype) * 2 - 1
        self.state = torch.randn(batch, 1, config.action_head.max_state_dim, device=device)
        self.noise = torch.randn(batch, config.action_head.action_horizon, config.action_head.action_dim, device=device)
        self.features = self.encode()

    def autocast(self) -> Any:
        """The context in which the head runs."""
        mixed = self.dtype == torch.bfloat16
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if mixed else nullcontext()

    @torch.no_grad()
    def encode(self) -> torch.Tensor:
        """Images and prompt to the features that the rollout caches."""
        features = self.model.encode(self.pixels, self.prompt)
        return self.head.vl_self_attention(self.head.vlln(features))

    @torch.no_grad()
    def denoise(self) -> torch.Tensor:
        """Features to an action chunk."""
        with self.autocast():
            return self.head.integrate(self.noise, self.prepare(self.features), self.steps)

    def prepare(self, features: torch.Tensor) -> HeadContext:
        """The action head's context."""
        return self.head.prepare(features, self.state, kinds=self.kinds)

    def update(self, scored: int = 1, features: torch.Tensor | None = None) -> None:
        """Forward and backward with ``scored`` denoising steps in one batched call; no optimiser step."""
        with self.autocast():
            context = self.prepare(self.features if features is None else features)
            bucket = torch.arange(scored, device=self.device).repeat(len(self.noise)) * 250
            context = context.repeat_interleave(scored) if scored > 1 else context
            velocity = self.head.velocity(self.noise.repeat_interleave(scored, dim=0), bucket, context)
        velocity.square().mean().backward()
        self.model.zero_grad(set_to_none=True)

    def update_all(self) -> None:
        """An update that scores all denoising steps."""
        self.update(self.steps)

    def update_pixels(self) -> None:
        """An update that runs the frozen part again."""
        self.update(features=self.encode())


def _views(config: NetworkConfig) -> tuple[tuple[Grid, ...], int]:
    """Patches of each of the pictures, square and as large as the release's, and image tokens of all."""
    sizes: Any = config
    if config.generation == "n1.5":
        return (sizes.grid,) * VIEWS, VIEWS * sizes.tokens_per_image
    side = sizes.raw_config["image_target_size"][0] // sizes.vision.patch_size
    return ((1, side, side),) * VIEWS, VIEWS * side**2 // sizes.vision.spatial_merge_size**2


def _pixel_shape(config: NetworkConfig, batch: int, grids: tuple[Grid, ...]) -> tuple[int, ...]:
    """Shape of what the backbone takes as pictures."""
    vision = config.vision  # pyright: ignore[reportAttributeAccessIssue]
    if config.generation == "n1.5":
        return batch * len(grids), 3, vision.image_size, vision.image_size
    patches = sum(frames * rows * columns for frames, rows, columns in grids)
    return batch * patches, 3 * vision.temporal_patch_size * vision.patch_size**2


def measure(
    function: Callable[[], Any], device: torch.device, repeats: int, warmup: int = 2
) -> tuple[float, float | None]:
    """Return the median seconds of a call, and the peak memory in GiB (None on a CPU)."""
    cuda = device.type == "cuda"
    for _ in range(warmup):
        function()
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        if cuda:
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), torch.cuda.max_memory_allocated(device) / 2**30 if cuda else None


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second of a large square matmul, the best of several."""
    n = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return max(2 * n**3 / measure(lambda: a @ b, device, 10)[0] for _ in range(3))


def copy_bandwidth(device: torch.device) -> float:
    """Return the bytes per second of a large copy, read and written, the best of several."""
    source = torch.empty(2**30 if device.type == "cuda" else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return max(2 * source.nbytes / measure(lambda: target.copy_(source), device, 10)[0] for _ in range(3))


def operations(flops: Flops, steps: int, lora: bool = False) -> dict[str, int]:
    """Return the operations per sample of what is timed."""

    def update(scored: int) -> int:
        if not lora:
            return flops.update(scored)
        # frozen weights have no gradient of their own: a layer's backward costs as much as its forward
        return flops.state + flops.cross_kv + 2 * scored * flops.velocity

    return {
        "encode": flops.encode,
        "denoise": flops.denoise(steps),
        "update": update(1),
        "update_all": update(steps),
        "update_pixels": flops.encode + update(1),
    }


def least_traffic(policy: Policy, batch: int) -> dict[str, int]:
    """Return the bytes that a call of what is timed must move at least, see the module."""
    head, parts = policy.head, part_modules(policy.model)
    frozen = _bytes(*parts["vision"], *parts["mlp1"], *parts["llm"], *parts["vlln"], *parts["vl_self_attention"])
    embeddings: Any = [module for module in policy.model.backbone.modules() if isinstance(module, torch.nn.Embedding)]
    frozen -= max(_bytes(embedding) for embedding in embeddings)  # a few rows of the vocabulary's are read
    blocks: Any = head.model.transformer_blocks[::2]
    cross = [block.attn1 for block in blocks]
    kv = sum(_bytes(attention.to_k, attention.to_v) for attention in cross)  # once per decision
    velocity = _bytes(head.model, head.action_encoder, head.action_decoder) - kv
    features, pixels = policy.features.nbytes, policy.pixels.nbytes
    passes = 2 if policy.lora else 3
    update = passes * (velocity + kv) + 2 * features
    traffic = {"encode": frozen + pixels + features, "denoise": kv + policy.steps * velocity + features}
    return traffic | {"update": update, "update_all": update, "update_pixels": update + frozen + pixels + features}


def _bytes(*modules: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for module in modules for p in module.parameters())


def measure_batch(
    policy: Policy, batch: int, peak: float, bandwidth: float, repeats: int, note: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Return times, rates, shares of what the device can do and memory at one batch size.

    Args:
        policy: The network.
        batch: Samples of a call.
        peak: Of the device [FLOP/s].
        bandwidth: Of the device [B/s].
        repeats: Calls of each kind.
        note: Told every figure as soon as it is there.
    """
    result: dict[str, Any] = {"batch": batch}
    try:
        policy.set_batch(batch)
        flops = operations(policy.of.count_flops(policy.config, policy.tokens, policy.grids), policy.steps, policy.lora)
        traffic = least_traffic(policy, batch)
        for name, per_sample in flops.items():
            seconds, memory = measure(getattr(policy, name), policy.device, repeats)
            rate = per_sample * batch / seconds
            result[name] = {
                "ms": round(1e3 * seconds, 3),
                "samples_per_s": round(batch / seconds, 2),
                "gflop_per_s": round(rate / 1e9, 2),
                "share_of_peak": round(rate / peak, 4),
                "share_of_bandwidth": round(traffic[name] / seconds / bandwidth, 4),
                "peak_memory_gib": None if memory is None else round(memory, 2),
            }
            note({"batch": batch, "what": name, **result[name]})
        decision = result["encode"]["ms"] + result["denoise"]["ms"]
        result["decisions_per_s"] = round(1e3 * batch / decision, 2)
        result["pixels_over_cached"] = round(paired_ratio(policy, repeats), 3)
        note({"batch": batch} | {k: result[k] for k in ("decisions_per_s", "pixels_over_cached")})
    except torch.OutOfMemoryError:
        result["out_of_memory"] = True
        note(result)
        policy.model.zero_grad(set_to_none=True)
    return result


def paired_ratio(policy: Policy, repeats: int) -> float:
    """Return the median over pairs of the time of an update from pixels over that of one from cached features."""
    pairs = ((policy.update_pixels, policy.update) for _ in range(max(repeats // 2, 3)))
    return statistics.median(
        measure(pixels, policy.device, 1, warmup=0)[0] / measure(cached, policy.device, 1, warmup=0)[0]
        for pixels, cached in pairs
    )


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| batch | what | ms | samples/s | share of matmul peak | of bandwidth, at least | peak memory (GiB) |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for name, r in ((k, v) for k, v in result.items() if isinstance(v, dict)):
            memory = "–" if r["peak_memory_gib"] is None else r["peak_memory_gib"]
            shares = f"{100 * r['share_of_peak']:.1f} % | {100 * r['share_of_bandwidth']:.1f} %"
            lines.append(
                f"| {result['batch']} | {name} | {r['ms']:.1f} | {r['samples_per_s']:.1f} | {shares} | {memory} |"
            )
        if "decisions_per_s" in result:
            lines.append(f"| {result['batch']} | encode + denoise | – | {result['decisions_per_s']:.1f} | – | – | – |")
            ratio = f"{result['pixels_over_cached']:.2f} ×"
            lines.append(f"| {result['batch']} | update_pixels over update, pairs | {ratio} | – | – | – | – |")
        else:
            lines.append(f"| {result['batch']} | out of memory | – | – | – | – | – |")
    return "\n".join(lines)


def main() -> None:
    """Measure all batch sizes, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="the small network that trains on a CPU")
    parser.add_argument("--generation", choices=tuple(GENERATIONS), default="n1.5")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-sizes", type=int, nargs="+", help="default: 1 4 16 64, tiny: 1 16 128")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--lora", action="store_true", help="train adapters of the DiT; needs peft")
    parser.add_argument("--out", type=Path, help="study file, such as docs/results/throughput.json")
    parser.add_argument("--lines", type=Path, help="file to which a JSON line is appended after every figure")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
        if not args.tiny:
            parser.error("the full-size network needs a GPU: add --tiny, or --device cuda where there is one")
    size = "tiny" if args.tiny else "full"
    sizes = generation(args.generation).Config
    config = sizes.tiny(max_seq_len=64) if args.tiny else sizes.full_size()
    policy = Policy(config, TEXT_TOKENS[size], device, args.lora)
    peak, bandwidth = matmul_peak(device, policy.dtype), copy_bandwidth(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one thread"
    batches = args.batch_sizes or ([1, 16, 128] if args.tiny else [1, 4, 16, 64])
    about = {"step": "throughput", "generation": args.generation, "network": size, "lora": args.lora}
    append_line(args.lines, {**about, "matmul_tflop_per_s": peak / 1e12, "copy_gb_per_s": bandwidth / 1e9})

    def note(figure: dict[str, Any]) -> None:
        append_line(args.lines, {**about, **figure})

    results = [measure_batch(policy, batch, peak, bandwidth, args.repeats, note) for batch in batches]
    flops = operations(policy.of.count_flops(config, policy.tokens, policy.grids), policy.steps, args.lora)
    content = {
        "date": str(date.today()),
        "device": name,
        "torch": torch.__version__,
        "generation": args.generation,
        "network": size,
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "dtype": str(policy.dtype),
        "tokens": policy.tokens,
        "views": VIEWS,
        "lora": args.lora,
        "matmul_peak_tflop_per_s": round(peak / 1e12, 4),
        "copy_bandwidth_gb_per_s": round(bandwidth / 1e9, 2),
        "gflop_per_sample": {k: round(v / 1e9, 4) for k, v in flops.items()},
        "results": results,
    }
    can = f"matmul peak {peak / 1e12:.3g} TFLOP/s, copies {bandwidth / 1e9:.3g} GB/s"
    print(f"{name}, {size} network, {policy.dtype}, {can}\n\n{table(results)}")
    if args.out:
        add_run(args.out, f"{size}{'_lora' if args.lora else ''}_{device.type}", content)


if __name__ == "__main__":
    main()
