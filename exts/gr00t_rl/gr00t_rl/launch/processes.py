# SPDX-License-Identifier: BSD-3-Clause
"""Several processes that train together: torch's elastic launcher (torchrun) as a library.

What is added to it: only the first process writes to the console, a process that dies ends the others in seconds and
with one line, and a request to stop (SIGTERM, Ctrl-C) gives them time to save.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ..utils.errors import ConfigurationError
from ..utils.stop import INTERRUPTED_CODE, RESTART_CODE

CLUSTER_FLAGS = (
    *("nnodes", "node_rank", "master_addr", "master_port", "local_addr"),
    *("rdzv_backend", "rdzv_endpoint", "rdzv_id", "rdzv_conf"),
)
"""torchrun's flags that several machines need; torchrun itself explains them."""
FAILURE_S = 10
"""Time that the others have to end by themselves when a process died [s]; then they are killed."""
GRACE_S = 600
"""Time to save after a request to stop [s]. Whoever asked usually kills earlier: 30 to 120 s at the clouds."""


def count_processes(wanted: str, device: str | None) -> tuple[int, str]:
    """Return how many processes to start on this machine, and the kind of device that each gets, cpu or cuda.

    Args:
        wanted: A number, or "auto" for all GPUs, or all cores where there is none or ``device`` is cpu.
        device: What the command line says: cpu, cuda or nothing.

    Raises:
        ConfigurationError: If this machine has fewer devices.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind = (device or ("cuda" if gpus else "cpu")).split(":")[0]
    if wanted != "auto" and (not wanted.isdigit() or int(wanted) < 1):
        raise ConfigurationError(f"--processes is {wanted!r}; set a number of at least 1, or auto")
    if kind == "cpu":
        return (len(os.sched_getaffinity(0)) if wanted == "auto" else int(wanted)), kind
    count = max(gpus, 1) if wanted == "auto" else int(wanted)
    if count > gpus:
        raise ConfigurationError(
            f"--processes is {wanted}, one GPU each, but this machine has {gpus} CUDA GPUs; set a lower number, or "
            "--device cpu"
        )
    if device is not None and ":" in device and count > 1:
        raise ConfigurationError(
            f"--device {device} names one GPU, but --processes {wanted} takes one GPU for each process; leave --device "
            "out, and choose GPUs with CUDA_VISIBLE_DEVICES"
        )
    return count, kind


def run_processes(
    worker: Sequence[str], count: int, cluster: Sequence[str] = (), newest: Callable[[], str | None] = lambda: None
) -> int:
    """Run a Python program in several processes until all have ended, and return the exit code for this one.

    Args:
        worker: Program and its arguments as ``python`` takes them; a module as "--module", its name, ...
        count: Processes on this machine.
        cluster: torchrun's flags of several machines; without any, this machine is all there is.
        newest: Returns the newest checkpoint of the run, if there is one, for the line that says what failed.

    Returns:
        0; ``RESTART_CODE`` if the run was asked to stop, after Ctrl-C 130; else that of the failed process, 1 where a
        signal ended it.
    """
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import elastic_launch

    logs, code = tempfile.mkdtemp(prefix="gr00t_rl_processes_"), 1
    interrupts: list[int] = []
    try:
        config, program, arguments = _configure(worker, count, cluster, logs)
        with _interrupt_as_sigterm(SignalException, interrupts), _quick_to_end() as agents:
            elastic_launch(config, program)(*arguments)
        code = 0
    except ChildFailedError as error:
        code = _explain(error.failures, count, newest(), logs)
    except SignalException:
        code = _after_request(agents[-1].exit_codes if agents else {}, newest())
    except (RendezvousError, DistError) as error:
        raise ConfigurationError(
            f"{' '.join(cluster)}: the machines do not find each other ({str(error)[:200] or type(error).__name__}); "
            "start the same command on all of them, with the address of one that the others reach"
        ) from None
    finally:
        if code in (0, RESTART_CODE) or not any(Path(logs).rglob("*.log")):
            shutil.rmtree(logs, ignore_errors=True)
    return INTERRUPTED_CODE if interrupts and code == RESTART_CODE else code


def _configure(worker: Sequence[str], count: int, cluster: Sequence[str], logs: str) -> tuple[Any, Any, list[str]]:
    """Return torch's configuration of the launch, the program and its arguments."""
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std

    if "LOGLEVEL" not in os.environ:
        _silence("torch.distributed.elastic")
    if not cluster:
        cluster = ("--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "--rdzv_id", uuid.uuid4().hex)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    flags = ["--nproc_per_node", str(count), "--log_dir", logs, "--signals_to_handle", "SIGTERM"]
    try:
        config, program, arguments = torchrun.config_from_args(torchrun.parse_args([*cluster, *flags, *worker]))
    except (ValueError, AssertionError, RuntimeError) as error:
        raise ConfigurationError(f"{' '.join(cluster)}: {error}; see torchrun --help") from None
    config.logs_specs = DefaultLogsSpecs(logs, redirects={r: Std.ALL if r else Std.NONE for r in range(count)})
    return config, program, arguments


def newest_checkpoint(since: float, run_timestamp: str = "") -> str | None:
    """Return the checkpoint with the highest number that was written since a time, None if there is none.

    Args:
        since: Seconds since the epoch.
        run_timestamp: How the name of the run's folder begins, as far as it is known.
    """
    files = Path("logs", "rsl_rl").glob(f"*/{run_timestamp}*/model_*.pt")
    numbered = [
        (int(file.stem.removeprefix("model_")), str(file))
        for file in files
        if file.stem.removeprefix("model_").isdigit() and file.stat().st_mtime >= since
    ]
    return max(numbered)[1] if numbered else None


def run_timestamp() -> str:
    """Return the present time in the form in which Isaac Lab names a run's folder."""
    return time.strftime("%Y-%m-%d_%H-%M-%S")


def agreed_timestamp(own: str) -> str:
    """Return the first process's name of the run's folder, for processes that several machines started."""
    from torch.distributed.rendezvous import rendezvous

    store, rank, _ = next(rendezvous("env://"))
    if rank == 0:
        store.set("gr00t_rl/run_timestamp", own)
    return store.get("gr00t_rl/run_timestamp").decode()


# -- torch's launcher, with two changes ----------------------------------------------------------------------------


@contextlib.contextmanager
def _quick_to_end() -> Iterator[list[Any]]:
    """Let torch's agent give processes little time when one died and enough when they have to save; yield the agents.

    torch gives them 30 seconds in both cases, and offers no setting for it.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.launcher import api

    stock: Any = vars(api)["LocalElasticAgent"]
    agents: list[Any] = []

    class Agent(stock):
        exit_codes: dict[int, int | None] = {}

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            agents.append(self)

        def _start_workers(self, worker_group: Any) -> dict[int, Any]:
            started = super()._start_workers(worker_group)
            context = self._pcontext
            close = context.close

            def codes() -> list[int | None]:
                return [handler.proc.poll() for handler in context.subprocess_handlers.values()]

            def close_in_time(death_sig: signal.Signals | None = None, timeout: int = 0) -> None:
                # without a signal it is torch that ends the others when one has left
                failed = death_sig is None and RESTART_CODE not in codes()
                try:
                    close(death_sig, FAILURE_S if failed else GRACE_S)
                except SignalException:  # asked a second time
                    for handler in context.subprocess_handlers.values():
                        if handler.proc.poll() is None:
                            handler.close(signal.SIGKILL)
                            handler.proc.wait()
                self.exit_codes = dict(enumerate(codes()))

            context.close = close_in_time
            return started

    api.LocalElasticAgent = Agent  # type: ignore[misc]
    try:
        yield agents
    finally:
        api.LocalElasticAgent = stock  # type: ignore[misc]


@contextlib.contextmanager
def _interrupt_as_sigterm(exception: type[Exception], interrupts: list[int]) -> Iterator[None]:
    """Treat Ctrl-C as a request to stop and note it: the processes, in sessions of their own, hear nothing of it."""

    lines = ["ending the processes at once", "stopping; the state is saved first (Ctrl-C again: at once)"]

    def ask(signum: int, frame: FrameType | None) -> None:
        interrupts.append(signum)
        print(f"\n[gr00t_rl] {lines.pop() if lines else 'ending'}", file=sys.stderr, flush=True)
        raise exception("Ctrl-C", signal.SIGTERM)

    previous = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _silence(package: str) -> None:
    """Keep a package's loggers quiet: what they say is said in one line here."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(package):
            logging.getLogger(name).disabled = True


# -- what is said at the end ------------------------------------------------------------------------------------------


def _advise(newest: str | None) -> str:
    if newest is None:
        return "this run has saved nothing yet: start the same command again"
    return f"go on with --checkpoint {newest}"


def _explain(failures: dict[int, Any], count: int, newest: str | None, logs: str) -> int:
    """Say in one line which process died first and of what; return the exit code."""
    if all(failure.exitcode in (RESTART_CODE, -signal.SIGTERM) for failure in failures.values()):
        return RESTART_CODE  # the request reached the processes first, as when a scheduler signals them all
    rank, failure = min(failures.items(), key=lambda item: _order(item[1]))
    if failure.exitcode < 0:
        what = f"was ended by {failure.signal_name()}"
        what += " (out of memory?)" if failure.exitcode == -signal.SIGKILL else ""
    else:
        what = f"ended with exit code {failure.exitcode}"
        reason = failure.error_file_data.get("message")
        reason = reason.get("message") if isinstance(reason, dict) else None
        what += f" ({' '.join(str(reason).split())[:300]})" if reason else ""
    where = f"; its output is in {logs}" if failure.local_rank > 0 else ""
    print(
        f"[gr00t_rl] error: process {rank} (pid {failure.pid}) {what}, and the others were ended{where}; "
        f"{_advise(newest)}",
        file=sys.stderr,
        flush=True,
    )
    return failure.exitcode if failure.exitcode > 0 else 1


def _order(failure: Any) -> tuple[int, float]:
    """Put first what somebody else killed, then what reported an error first; last, what only ended with the others."""
    if failure.exitcode < 0:
        return (0 if failure.exitcode != -signal.SIGTERM else 3, 0.0)
    try:
        return (1, os.stat(failure.error_file).st_mtime)
    except OSError:  # it ended without an exception
        return (2, float(failure.timestamp))


def _after_request(codes: dict[int, int | None], newest: str | None) -> int:
    """Return the exit code after a request to stop, from those of the processes."""
    if codes and set(codes.values()) == {0}:
        return 0  # it came when all was done
    saved = RESTART_CODE in codes.values()
    failed = [code for code in codes.values() if code not in (0, RESTART_CODE, -signal.SIGTERM, -signal.SIGKILL)]
    if failed and not saved:
        print(f"[gr00t_rl] error: a process failed while it was stopped; {_advise(newest)}", file=sys.stderr)
        return max(failed[0] or 1, 1)
    if not saved:
        print(f"[gr00t_rl] stopped before anything was saved; {_advise(newest)}", file=sys.stderr)
    return RESTART_CODE
