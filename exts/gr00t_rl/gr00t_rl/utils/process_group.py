# SPDX-License-Identifier: BSD-3-Clause
"""Processes that train together on CPU cores: gloo in place of the NCCL that rsl_rl's runner hard-codes."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist

from .errors import ConfigurationError


def rank() -> int:
    """Return the number of this process among all that train together, 0 where it is alone."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def world_size() -> int:
    """Return the number of processes that train together, as torchrun says it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def install() -> None:
    """Let rsl_rl's runner take CPU devices with several processes, for algorithms of this package; idempotent.

    Without several processes nothing is loaded or wrapped.
    """
    if world_size() == 1:
        return
    from rsl_rl.runners import OnPolicyRunner
    from rsl_rl.utils import resolve_callable

    stock = OnPolicyRunner._configure_multi_gpu
    if hasattr(stock, "__wrapped__"):
        return

    @functools.wraps(stock)
    def configure(self: OnPolicyRunner) -> None:
        algorithm = resolve_callable(self.cfg["algorithm"]["class_name"])
        ours = any(base.__module__.split(".")[0] == "gr00t_rl" for base in getattr(algorithm, "__mro__", ()))
        if not ours or torch.device(self.device).type != "cpu" or world_size() == 1:
            return stock(self)
        self.gpu_world_size, self.is_distributed = world_size(), True
        self.gpu_global_rank, self.gpu_local_rank = rank(), int(os.environ.get("LOCAL_RANK", "0"))
        self.cfg["multi_gpu"] = {
            "global_rank": self.gpu_global_rank,
            "local_rank": self.gpu_local_rank,
            "world_size": self.gpu_world_size,
        }
        dist.init_process_group("gloo", rank=self.gpu_global_rank, world_size=self.gpu_world_size)

    OnPolicyRunner._configure_multi_gpu = configure  # type: ignore[method-assign]


class PeerLost(SystemExit):
    """Another process is gone. Its launcher says why; this one ends with status 1 and without a word."""

    def __init__(self) -> None:
        super().__init__(1)


@contextlib.contextmanager
def quiet_loss() -> Iterator[None]:
    """Raise :class:`PeerLost` where a connection to another process breaks inside the block.

    A traceback of the transport's, printed by every process that is left, would bury the one line that matters.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo's own errors have no type of theirs
        if world_size() > 1 and (isinstance(error, dist.DistError) or "third_party/gloo" in str(error)):
            raise PeerLost from None
        raise


def refuse_different_starts(start: dict[str, float], device: str | torch.device, size: int) -> None:
    """End all of ``size`` ranks with one line if they do not begin alike; all of them must ask at the same time.

    Only weights are sent at the start of a run. Ranks with other counters, rates or moments would part without a word.

    Args:
        start: The same names on all ranks, and each rank's numbers.
        device: Device of the exchange.
        size: Number of ranks.
    """
    if size == 1:
        return
    own = torch.tensor(list(start.values()), dtype=torch.float64, device=device)
    parts = [torch.empty_like(own) for _ in range(size)]
    dist.all_gather(parts, own)
    rows = torch.stack(parts).tolist()
    for number, row in enumerate(rows):
        differing = [i for i, value in enumerate(row) if value != rows[0][i]]
        if differing:
            found = ", ".join(f"{name} {rows[0][i]:g} and {row[i]:g}" for i, name in enumerate(start) if i in differing)
            raise ConfigurationError(
                f"processes 0 and {number} do not go on from the same state ({found}): one of them has loaded another "
                "checkpoint, or none; set --checkpoint to the same file, under the same path on all machines ('latest' "
                "needs a disk that all of them share), and the same settings"
            )


def any_rank(flag: bool, device: str | torch.device, size: int) -> bool:
    """Return whether ``flag`` is set on any of ``size`` ranks; all of them must ask at the same time."""
    if size == 1:
        return flag
    number = torch.tensor(int(flag), device=device)
    dist.all_reduce(number, dist.ReduceOp.MAX)
    return bool(number)
