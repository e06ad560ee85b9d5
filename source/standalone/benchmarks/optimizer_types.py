# SPDX-License-Identifier: BSD-3-Clause
"""What shorter optimiser states would save: bytes per trained parameter by type, and what that is at full size.

AdamW as we step it, in float32, beside those of torchao (``pip install torchao``): 8-bit moments, and bfloat16 weights
and moments with stochastic rounding. Processor time is that of torchao's uncompiled code, which a CPU run can take::

    TORCHDYNAMO_DISABLE=1 python source/standalone/benchmarks/optimizer_types.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from gr00t_rl.gr00t.n1d5.config import Gr00tN1d5Config
from gr00t_rl.gr00t.n1d5.model import Gr00tN1d5
from gr00t_rl.gr00t.parts import lora_layers, part_parameters

SHAPES = [(1024, 1024)] * 4 + [(256,)] * 10


def optimizers() -> Iterator[tuple[str, torch.dtype, Callable[[list[torch.nn.Parameter]], Any]]]:
    """Name, type of the weights, and constructor of each optimiser; those of torchao only where it is installed."""
    yield "AdamW, float32", torch.float32, lambda p: torch.optim.AdamW(p, lr=1e-4, fused=True)
    try:
        from torchao.optim import AdamW8bit, _AdamW  # pyright: ignore[reportMissingImports]
    except ImportError:
        return
    yield "8-bit moments, float32 weights", torch.float32, lambda p: AdamW8bit(p, lr=1e-4)
    yield "bfloat16, stochastic rounding", torch.bfloat16, lambda p: _AdamW(p, lr=1e-4, bf16_stochastic_round=True)
    yield (
        "8-bit moments, bfloat16 weights, stochastic rounding",
        torch.bfloat16,
        lambda p: AdamW8bit(p, lr=1e-4, bf16_stochastic_round=True),
    )


def size(x: Any) -> int:
    """Bytes of a tensor, also of one that is made of others."""
    if hasattr(x, "__tensor_flatten__"):
        return sum(size(getattr(x, name)) for name in x.__tensor_flatten__()[0])
    return x.nbytes if isinstance(x, torch.Tensor) else 0


def measure(dtype: torch.dtype, make: Callable[[list[torch.nn.Parameter]], Any]) -> tuple[float, float]:
    """Return bytes per parameter (weight, gradient, moments) and processor seconds per step of a million of them."""
    parameters = [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in SHAPES]
    for p in parameters:
        p.grad = torch.randn_like(p)
    optimizer, times = make(parameters), []
    for _ in range(4):
        start = time.process_time()
        optimizer.step()
        times.append(time.process_time() - start)
    states = (value for state in optimizer.state.values() for value in state.values())
    count = sum(p.numel() for p in parameters)
    total = sum(2 * p.nbytes for p in parameters) + sum(map(size, states))
    return total / count, min(times[1:]) / count * 1e6


def trained(rank: int) -> dict[str, int]:
    """Trained parameters of the released size: by LoRA on the DiT, of DiT and projectors, of everything."""
    with torch.device("meta"):
        model = Gr00tN1d5(Gr00tN1d5Config())

    def count(name: str, p: torch.nn.Parameter) -> int:
        return p.numel() // (len(p) if name.endswith((".W", ".b")) else 1)  # tables keep the row of one embodiment

    parts = {part: sum(count(*item) for item in own.items()) for part, own in part_parameters(model).items()}
    adapters = sum(rank * (m.in_features + m.out_features) for m in lora_layers(model, "dit").values())
    return {
        f"LoRA, rank {rank}, on the DiT": adapters,
        "DiT and projectors": parts["dit"] + parts["projectors"],
        "everything": sum(parts.values()),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=16, help="rank of the adapters")
    args = parser.parse_args()
    torch.manual_seed(0)
    sizes = trained(args.rank)
    columns = [f"{name} ({count / 1e6:.0f} M) [GB]" for name, count in sizes.items()]
    print(f"| optimiser | bytes per parameter | s per step and M | {' | '.join(columns)} |")
    print("|" + "---|" * (3 + len(columns)))
    for name, dtype, make in optimizers():
        each, seconds = measure(dtype, make)
        cells = [f"{count * each / 1e9:.2f}" for count in sizes.values()]
        print(f"| {name} | {each:.1f} | {seconds:.4f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
