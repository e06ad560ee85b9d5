# SPDX-License-Identifier: BSD-3-Clause
"""Measure on a GPU machine, lent for minutes, what no other machine can tell; a line is on disk after every figure.

    python source/standalone/benchmarks/gpu_session.py --out $OUT/gpu_session.jsonl            # eight minutes
    python source/standalone/benchmarks/gpu_session.py --out out/gpu_session.jsonl --tiny      # the same on a CPU

Steps, most valuable first, each a process with a time limit of its own; what does not fit in ``--seconds`` is left out:

1. the network alone at full size, by batch: encode, denoise, update, update from pixels (``policy_throughput.py``),
   with the DiT trained in full and, where peft is there, by adapters;
2. does Newton run on CUDA: the camera task with the tiny network;
3. whole iterations at full size in the simulator, two 224² cameras, adapters on the DiT (``iteration_phases.py``): with
   64 envs, cached features, pixels and float32 in turns; then 128, 256 and 16 envs;
4. env steps per second with the tiny network: state and cameras, 256, 1,024 and 4,096 envs.

Beside step 1, in the background: the simulator is unpacked (``--bundle``, a script to source; see docs/throughput.md),
then Warp compiles its kernels for the card; and a random full-size checkpoint is written. Nothing has to be installed.

``--report`` prints the tables of a file of lines, and adds the figures to ``--study``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[2] / "exts" / "gr00t_rl"
"""Not installed on a bare machine: this process and all that it starts find it by its path."""
sys.path.insert(0, str(PACKAGE))

from records import add_run, append_line  # noqa: E402  # imports the package

CAMERA_TASK, STATE_TASK = "Gr00t-Push-Cube-Franka-Camera", "Gr00t-Push-Cube-Franka"
ENDING_S = 5
"""Time that a process gets to end when its limit is over."""
SHORTEST_S = 15
"""With less time left than this, no further step begins."""


@dataclass
class Step:
    """A figure or a few, by one process."""

    name: str
    command: list[str]
    limit_s: float
    needs: tuple[str, ...] = ()
    """Background jobs that must have succeeded."""


class Session:
    """Runs steps one after another, and jobs beside them, until the time is over.

    Args:
        out: File of JSON lines.
        seconds: Time for everything.
        folder: For checkpoint, logs and outputs.
        patience: Factor of the steps' own limits.
    """

    def __init__(self, out: Path, seconds: float, folder: Path, patience: float = 1.0) -> None:
        self.out, self.folder, self.patience = out, folder, patience
        self.began = time.monotonic()
        self.end = self.began + seconds
        self.env = with_package(dict(os.environ))
        self.sourced: Path | None = None
        """Where the environment will be that a script leaves which is still under way."""
        self.jobs: dict[str, subprocess.Popen[bytes]] = {}
        self.started: list[subprocess.Popen[bytes]] = []
        self.verdicts: dict[str, bool] = {}

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self.end - time.monotonic()

    def note(self, **content: Any) -> None:
        """Write a line, with the time since the start."""
        append_line(self.out, {"at_s": round(time.monotonic() - self.began, 1), **content})

    def launch(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own, with its output in a file."""
        if self.sourced is not None and self.sourced.exists():
            text = self.sourced.read_bytes().decode()
            self.env = with_package(dict(line.split("=", 1) for line in text.split("\0") if "=" in line))
            self.sourced = None
        log = (self.folder / f"{name}.log").open("wb")
        self.started.append(
            subprocess.Popen(
                command, env=self.env, stdout=log, stderr=subprocess.STDOUT, cwd=Path.cwd(), start_new_session=True
            )
        )
        return self.started[-1]

    def begin(self, name: str, command: list[str]) -> None:
        """Start a job beside the steps."""
        self.note(job=name, command=" ".join(command))
        self.jobs[name] = self.launch(name, command)

    def wait_for(self, name: str, limit_s: float) -> bool:
        """Wait for a job, and return whether it succeeded."""
        if name not in self.verdicts:
            began = time.monotonic()
            self.verdicts[name] = finish(self.jobs[name], min(limit_s, self.left_s)) == 0
            waited = round(time.monotonic() - began, 1)
            self.note(job=name, ok=self.verdicts[name], waited_s=waited, **self._why(name, self.verdicts[name]))
        return self.verdicts[name]

    def run(self, step: Step) -> bool:
        """Run a step if there is time for it and what it needs is there."""
        missing = [job for job in step.needs if not self.wait_for(job, self.left_s / 2)]
        if missing or self.left_s < SHORTEST_S:
            self.note(step=step.name, left_out=f"without {', '.join(missing)}" if missing else "no time left")
            return False
        began = time.monotonic()
        limit_s = min(step.limit_s * self.patience, self.left_s - ENDING_S)
        status = finish(self.launch(step.name, step.command), limit_s)
        seconds = round(time.monotonic() - began, 1)
        self.note(step=step.name, ok=status == 0, seconds=seconds, **self._why(step.name, status == 0))
        return status == 0

    def close(self) -> None:
        """End what still runs."""
        for process in self.started:
            finish(process, 0)

    def _why(self, name: str, ok: bool) -> dict[str, str]:
        log = self.folder / f"{name}.log"
        return {} if ok or not log.exists() else {"output": log.read_text(errors="replace")[-600:]}


def finish(process: subprocess.Popen[bytes], limit_s: float) -> int:
    """Wait for a process, end it and its children after ``limit_s``; returns its status, 124 after the limit."""
    try:
        return process.wait(max(limit_s, 0))
    except subprocess.TimeoutExpired:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)
                process.wait(ENDING_S)
                break
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                break
        return 124


def with_package(env: dict[str, str]) -> dict[str, str]:
    """Return an environment in which Python finds the package."""
    return {**env, "PYTHONPATH": os.pathsep.join(filter(None, (str(PACKAGE), env.get("PYTHONPATH"))))}


def after_sourcing(script: Path, environment: Path, command: list[str]) -> list[str]:
    """Return a command that sources a script, keeps the environment that it leaves, and then runs ``command``."""
    code = '. "$1" && env -0 > "$2.part" && mv "$2.part" "$2" && shift 2 && PYTHONPATH="$0:$PYTHONPATH" exec "$@"'
    return ["bash", "-c", code, str(PACKAGE), str(script), str(environment), *command]


def iterations(
    session: Session, args: argparse.Namespace, name: str, task: str, envs: int, *more: str, agent: str = ""
) -> list[str]:
    """Return the command that times iterations of ``task`` with ``envs`` envs."""
    command = [sys.executable, str(HERE / "iteration_phases.py"), "--task", task, "--num_envs", str(envs)]
    command += ["--device", args.device, "--lines", str(session.out), "--tag", json.dumps({"step": name})]
    return [*command, *(("--agent", agent) if agent else ()), *more]


def background(session: Session, args: argparse.Namespace, checkpoint: Path) -> None:
    """Start what the later steps need: the simulator, the checkpoint, and Warp's kernels."""
    sizes = ["--image_size", "64"] if args.tiny else ["--full-size", "--dtype", "bfloat16"]
    code = "import sys; from gr00t_rl.cli.make_checkpoint import main; sys.exit(main(sys.argv[1:]))"
    session.begin("checkpoint", [sys.executable, "-c", code, "--out", str(checkpoint), *sizes])
    short = ("--warmup", "1", "--iterations", "1", "agent.num_steps_per_env=8")
    kernels = iterations(session, args, "kernels", CAMERA_TASK, 2 if args.tiny else 256, *short)
    if args.bundle is not None:
        session.sourced = session.folder / "bundle.env"
        kernels = after_sourcing(args.bundle, session.sourced, kernels)
    session.begin("kernels", kernels)


def plan(session: Session, args: argparse.Namespace, checkpoint: Path) -> list[Step]:
    """Return the steps, most valuable first."""
    tiny = args.tiny
    throughput = [sys.executable, str(HERE / "policy_throughput.py"), "--lines", str(session.out)]
    throughput += ["--device", args.device, "--repeats", "2" if tiny else "6", *(("--tiny",) if tiny else ())]
    batches = ["--batch-sizes", *(("1", "4") if tiny else ("64", "128", "16", "1", "256"))]
    steps = [Step("throughput", [*throughput, *batches], 100)]
    steps.append(
        Step("newton", iterations(session, args, "newton", CAMERA_TASK, 2 if tiny else 256), 120, ("kernels",))
    )
    full = [f"agent.actor.checkpoint={checkpoint}", f"env.camera_size={64 if tiny else 224}"]
    full += [f"agent.actor.dtype={'float32' if tiny else 'bfloat16'}", "agent.num_steps_per_env=16"]
    full += [f"agent.algorithm.micro_batch_size={4 if tiny else 64}"]
    variants = ["--variant", "agent.actor.feature_cache=pixels"]
    variants += ["--variant", f"agent.actor.dtype={'bfloat16' if tiny else 'float32'}"]
    lora = "rsl_rl_lora_cfg_entry_point"
    for envs, more in ((64, variants), (128, []), (256, []), (16, [])):
        name = f"full_{envs}"
        number = max(envs // 32, 2) if tiny else envs
        command = iterations(session, args, name, CAMERA_TASK, number, "--iterations", "2", *more, *full, agent=lora)
        steps.append(Step(name, command, 150 if more else 75, ("checkpoint", "kernels")))
    # adapters need peft, which may have come with the bundle
    batches = ["--batch-sizes", *(("4",) if tiny else ("64", "128"))]
    steps.insert(3, Step("throughput_lora", [*throughput, *batches, "--lora"], 45))
    for task, kind in ((STATE_TASK, "state"), (CAMERA_TASK, "camera")):
        for envs in (1024, 4096, 256):
            name = f"envs_{kind}_{envs}"
            number = max(envs // 512, 2) if tiny else envs
            command = iterations(session, args, name, task, number, "--iterations", "2", "agent.num_steps_per_env=16")
            steps.append(Step(name, command, 60, ("kernels",)))
    return steps


def measure(args: argparse.Namespace) -> None:
    """Run the session."""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what runs is ended, too
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        session = Session(args.out, args.seconds, folder, args.patience)
        cuda = torch.device(args.device).type == "cuda"
        card = torch.cuda.get_device_name() if cuda else "CPU"
        session.note(
            start=datetime.now().isoformat(timespec="seconds"), device=card, torch=torch.__version__, tiny=args.tiny
        )
        checkpoint = (folder / "checkpoint").absolute()
        try:
            background(session, args, checkpoint)
            for step in plan(session, args, checkpoint):
                if args.only and not step.name.startswith(tuple(args.only)):
                    continue
                print(f"{step.name}: {session.left_s:.0f} s left", flush=True)
                session.run(step)
        finally:
            session.close()
            session.note(end=True)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a session; one that was cut off at the end is left out."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the session's tables as Markdown."""
    parts = []
    rows = [line for line in lines if line.get("step") == "throughput" and "what" in line]
    if rows:
        parts.append(
            "| trained | batch | what | ms | samples/s | of matmul peak | of bandwidth | peak GiB |\n"
            + "|---" * 8
            + "|"
        )
        for r in rows:
            shares = f"{100 * r['share_of_peak']:.1f} % | {100 * r['share_of_bandwidth']:.1f} %"
            how = "adapters" if r["lora"] else "in full"
            cells = f"{r['ms']:.1f} | {r['samples_per_s']:.1f} | {shares} | {r['peak_memory_gib']}"
            parts[-1] += f"\n| {how} | {r['batch']} | {r['what']} | {cells} |"
    rows = [line for line in lines if "iteration" in line and not line["warmup"]]
    if rows:
        columns = ("physics", "render", "encode", "denoise", "store", "update", "other", "iteration")
        head = "| step | envs | settings | " + " | ".join(f"{name} [s]" for name in columns)
        parts.append(f"{head} | decisions/s | env steps/s | ratio error | peak GiB | taken GiB |\n" + "|---" * 16 + "|")
        for r in rows:
            cells = " | ".join(f"{r[name]:.3f}" for name in columns)
            rates = f"{r['decisions_per_s']:.2f} | {r['env_steps_per_s']:.0f} | {r['ratio_error']:.1e}"
            memory = f"{r['peak_memory_gib']:.1f} | {r['device_memory_gib']:.1f}"
            parts[-1] += f"\n| {r['step']} | {r['num_envs']} | {r['variant']} | {cells} | {rates} | {memory} |"
    failed = [line for line in lines if line.get("ok") is False or "left_out" in line]
    parts += [f"- {r.get('step', r.get('job'))}: {r.get('left_out', 'failed or over its limit')}" for r in failed]
    return "\n\n".join(parts)


def main() -> None:
    """Measure, or report what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/gpu_session.jsonl"), help="file of JSON lines")
    parser.add_argument("--seconds", type=float, default=480, help="time for everything")
    parser.add_argument("--patience", type=float, default=1.0, help="factor of the steps' own time limits")
    parser.add_argument("--tiny", action="store_true", help="the small network and few envs")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bundle", type=Path, help="script that brings the simulator; sourced")
    parser.add_argument(
        "--folder", type=Path, help="for the checkpoint and the outputs of the steps (default: none kept)"
    )
    parser.add_argument("--only", nargs="+", help="steps whose names begin so")
    parser.add_argument("--report", type=Path, help="print the tables of such a file, and measure nothing")
    parser.add_argument("--study", type=Path, help="with --report: study file, such as docs/results/gpu_session.json")
    args = parser.parse_args()
    if args.report is None:
        measure(args)
        args.report = args.out
    lines = read_lines(args.report)
    print(report(lines))
    if args.study:
        start = next(line for line in lines if "start" in line)
        name = f"{start['device']} {start['start'][:10]}{' tiny' if start['tiny'] else ''}"
        add_run(args.study, name.replace(" ", "_"), {"lines": lines})


if __name__ == "__main__":
    main()
