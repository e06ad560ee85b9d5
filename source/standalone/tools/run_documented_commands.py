# SPDX-License-Identifier: BSD-3-Clause
"""Run every command that the documents show, and fail if one does.

    python source/standalone/tools/run_documented_commands.py            # all: hours of training shrunk to minutes
    python source/standalone/tools/run_documented_commands.py --quick    # what CI runs

A comment on a line of its own, before a block of commands or before the paragraph, list or table that names one in
backquotes, says how each is run. One marker is for all commands that follow it, several are for one each, in order:

    <!-- run: quick --num_envs 4 agent.max_iterations=1 -->    with these settings in place of the command's own
    <!-- run: full RUN/model_N.pt:=logs/*/*/*/model_0.pt -->   with one text put in the place of another
    <!-- run: full if:moviepy "until:is running" -->           where a module is installed; interrupted at that output
    <!-- run: no, needs Docker -->                             not here, and why

All commands run one after another in a copy of the working tree, so that one finds the runs of another, and nothing is
left behind. ``uv run`` stands for the interpreter that runs this program: its environment is already in place.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/*.md", "docker/README.md")
DOCUMENTS += ("exts/gr00t_rl/gr00t_rl/assets/checkpoints/README.md",)
PROGRAMS = {"uv": 3, "uvx": 2, "python": 2, "pip": 2, "docker": 2, "hadolint": 2, ".ci/run": 1, "isaaclab.sh": 3}
PROGRAMS |= {"isaaclab": 4, "gr00t-rl": 4}
"""First words by which code in backquotes is known to be a command, and the least number of its words: less only names
a verb."""
TIMEOUT_S = 1800
ENDING_S = 120
"""Time that an interrupted command has to end."""

_MARKER = re.compile(r"<!-- run: (.*?) ?-->")
_TOKEN = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
_ASSIGNMENT = re.compile(r"(?:export )?[A-Z_a-z]\w*=\S.*")
_FUNCTION = re.compile(r"[a-z]\w*\(\) \{.*\}")
UV = """#!/usr/bin/env bash
# uv run [--extra NAME] COMMAND in the environment that is there
[ "$1" = run ] && shift || { echo "only uv run is replaced, not: uv $*" >&2; exit 2; }
while [ "$1" = --extra ]; do shift 2; done
case "$1" in *.py) exec python "$@" ;; *) exec "$@" ;; esac
"""


@dataclass(frozen=True)
class How:
    """How a command is run, as its marker says."""

    kind: str
    """"quick", "full" or "no"."""
    reason: str = ""
    """Why it is not run."""
    settings: tuple[str, ...] = ()
    """Options and overrides in place of the command's own."""
    texts: tuple[tuple[str, str], ...] = ()
    """What stands in the command, and what is put in its place."""
    module: str = ""
    """Module without which it is left out."""
    until: str = ""
    """Output at which it is interrupted; it must then end with status 0."""


@dataclass
class Command:
    """A command of a document."""

    document: str
    line: int
    text: str
    how: How | None = None
    prelude: list[str] = field(default_factory=list)
    """Assignments of its block that come before it."""

    @property
    def place(self) -> str:
        """Document and line."""
        return f"{self.document}:{self.line}"

    def script(self) -> str:
        """What is handed to bash."""
        assert self.how is not None
        text = self.text
        for old, new in self.how.texts:
            text = text.replace(old, new)
        return "\n".join([*self.prelude, with_settings(text, self.how.settings)])


def parse_marker(text: str) -> How:
    """Read what stands in a marker after "run:". Raises ValueError if it makes no sense."""
    if text.startswith("no"):
        reason = text.removeprefix("no").strip(" ,:")
        if not reason:
            raise ValueError("'no' needs a reason: <!-- run: no, REASON -->")
        return How("no", reason)
    kind, *words = shlex.split(text)
    if kind not in ("quick", "full"):
        raise ValueError(f"{kind!r} is no way to run a command; set quick, full or no")
    texts = tuple(tuple(word.split(":=", 1)) for word in words if ":=" in word)
    named = {word.split(":", 1)[0]: word.split(":", 1)[1] for word in words if word.startswith(("if:", "until:"))}
    settings = tuple(word for word in words if ":=" not in word and not word.startswith(("if:", "until:")))
    return How(kind, "", settings, texts, named.get("if", ""), named.get("until", ""))  # type: ignore[arg-type]


def with_settings(text: str, settings: tuple[str, ...]) -> str:
    """Put settings into a command, in place of its own options and overrides of the same names."""
    tokens = _TOKEN.findall(text)
    position = 0
    while position < len(settings):
        setting = settings[position]
        position += 1
        values = []
        while position < len(settings) and _is_value(settings[position]):
            values.append(settings[position])
            position += 1
        tokens = [*_without(tokens, setting.split("=")[0], bool(values)), *map(_quoted, (setting, *values))]
    return " ".join(tokens)


def _is_value(token: str) -> bool:
    """Whether a token belongs to the option before it: neither an option itself nor a Hydra override."""
    return not token.startswith("-") and not re.match(r"[\"']?[\w.]+=", token)


def _without(tokens: list[str], name: str, has_values: bool) -> list[str]:
    """Leave out an option or an override of that name and, if it has any, its values."""
    kept, dropping = [], False
    for token in tokens:
        if token == name or token.lstrip("\"'").startswith(f"{name}="):
            dropping = has_values and token == name
        elif not (dropping and _is_value(token)):
            dropping = False
            kept.append(token)
    return kept


def _quoted(value: str) -> str:
    """Quote a value for bash, but leave patterns of files to it."""
    return value if "*" in value else shlex.quote(value)


def commands_of(document: str, text: str) -> tuple[list[Command], list[str]]:
    """Return the commands of a document, and what is wrong with its markers."""
    found: list[Command] = []
    problems: list[str] = []
    for markers, commands in _passages(document, text):
        where = f"{document}:{markers[0][0]}" if markers else ""
        try:
            hows = [parse_marker(marker) for _, marker in markers]
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        if not commands and markers:
            problems.append(f"{where}: a marker, but no command follows it")
        elif not markers:
            problems += [f"{c.place}: `{c.text}` has no marker; put <!-- run: ... --> before it" for c in commands]
        elif len(hows) not in (1, len(commands)):
            problems.append(f"{where}: {len(hows)} markers for {len(commands)} commands; set one, or one for each")
        for command, how in zip(commands, hows * len(commands) if len(hows) == 1 else hows, strict=False):
            command.how = how
        found += commands
    return found, problems


def _passages(document: str, text: str) -> list[tuple[list[tuple[int, str]], list[Command]]]:
    """Cut a document into blocks of code and blocks of prose, each with the markers before it and its commands."""
    passages: list[tuple[list[tuple[int, str]], list[Command]]] = []
    markers: list[tuple[int, str]] = []
    block: list[tuple[int, str]] = []
    fence: str | None = None
    for number, line in enumerate([*text.split("\n"), ""], 1):
        marker = None if fence is not None else _MARKER.fullmatch(line.strip())
        starts, ends = fence is None and line.startswith("```"), fence is not None and line.startswith("```")
        if (starts or ends or marker or not line.strip()) and (ends or fence is None):
            commands = _in_shell(document, block) if fence == "bash" else _in_prose(document, block) if not ends else []
            if block and (commands or fence is None):
                passages.append((markers, commands))
                markers = []
            block, fence = [], line[3:].strip() if starts else None
            if marker:
                markers.append((number, marker[1]))
        else:
            block.append((number, line))
    return [*passages, (markers, [])] if markers else passages


def _in_shell(document: str, lines: list[tuple[int, str]]) -> list[Command]:
    """The commands of a block of shell: lines joined, no comments; variables and functions are kept for later ones."""
    commands: list[Command] = []
    prelude: list[str] = []
    joined, start = "", 0
    for number, line in lines:
        start = start if joined else number
        joined += line.strip()
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        text = re.sub(r"(^|\s+)#(\s.*)?$", "", joined)
        joined = ""
        is_assignment = _ASSIGNMENT.fullmatch(text) and (" " not in text.removeprefix("export ") or '="' in text)
        if is_assignment or _FUNCTION.fullmatch(text):
            prelude.append(text)
        elif text:
            commands.append(Command(document, start, text, prelude=list(prelude)))
    return commands


def _in_prose(document: str, lines: list[tuple[int, str]]) -> list[Command]:
    """The commands in backquotes of a paragraph."""
    commands = []
    for number, line in lines:
        for code in re.findall(r"`([^`]+)`", line):
            words = [word for word in code.split() if not re.match(r"[A-Z_]+=", word)]
            if words and words[0] in PROGRAMS and len(words) >= PROGRAMS[words[0]]:
                commands.append(Command(document, number, code))
    return commands


def documented_commands(root: Path = ROOT) -> tuple[list[Command], list[str]]:
    """Return the commands of all documents in order, and what is wrong with their markers."""
    commands: list[Command] = []
    problems: list[str] = []
    for file in [file for pattern in DOCUMENTS for file in sorted(root.glob(pattern))]:
        found, wrong = commands_of(str(file.relative_to(root)), file.read_text(encoding="utf-8"))
        commands += found
        problems += wrong
    return commands, problems


def copy_tree(target: Path) -> None:
    """Copy what git knows or does not ignore."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def environment(folder: Path, tree: Path) -> dict[str, str]:
    """The environment of the commands: this interpreter's programs, the copy's package, one thread, wandb offline."""
    uv = folder / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gr00t_rl" / "warp"
    defaults = {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "WARP_CACHE_PATH": str(cache), "PYTHONUNBUFFERED": "1"}
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    # what is edited meanwhile must not mix with what was copied
    python_path = os.pathsep.join([str(tree / "exts" / "gr00t_rl"), os.environ.get("PYTHONPATH", "")])
    return defaults | os.environ | {"PATH": path, "PYTHONPATH": python_path}


def run(command: Command, folder: Path, env: dict[str, str]) -> tuple[bool, str]:
    """Run a command; returns whether it did what it should, and its output."""
    assert command.how is not None
    log = folder.parent / "output.txt"
    deadline = time.monotonic() + TIMEOUT_S
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-ec", command.script()],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # a shell starts what runs in the background with interrupts ignored, and children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            interrupted = not command.how.until
            while process.poll() is None:
                if time.monotonic() > deadline:
                    return False, f"{log.read_text(errors='replace')}\nit did not end in time"
                if not interrupted and command.how.until in log.read_text(errors="replace"):
                    interrupted, deadline = True, time.monotonic() + ENDING_S
                    time.sleep(2)  # let it go on for a moment
                    os.killpg(process.pid, signal.SIGINT)
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return process.returncode == 0 and interrupted, log.read_text(errors="replace")


def run_all(commands: list[Command]) -> int:
    """Run commands in a copy of the tree and print what each took; returns how many failed."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="documented-commands-") as scratch:
        tree, programs = Path(scratch) / "tree", Path(scratch) / "bin"
        programs.mkdir()
        copy_tree(tree)
        env = environment(programs, tree)
        for command in commands:
            assert command.how is not None
            print(f"{command.place}  {command.script()}", flush=True)
            if command.how.module and importlib.util.find_spec(command.how.module) is None:
                print(f"    left out: {command.how.module} is not installed", flush=True)
                continue
            began = time.monotonic()
            fine, output = run(command, tree, env)
            print(f"    {'done' if fine else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
            if not fine:
                failed += 1
                print("\n".join(f"    | {line}" for line in output.splitlines()[-30:]), flush=True)
    return failed


def main() -> int:
    """Run what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only those that are marked quick")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="only those whose place or text holds it"
    )
    parser.add_argument("--list", action="store_true", help="show what would be run, and what is not and why")
    args = parser.parse_args()
    commands, problems = documented_commands()
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    chosen = [c for c in commands if any(text in f"{c.place} {c.text}" for text in args.only)]
    chosen = [c for c in chosen if c.how.kind == "quick" or not args.quick]  # type: ignore[union-attr]
    if args.list:
        for command in chosen:
            how = command.how
            assert how is not None
            shown = f"no, {how.reason}: {command.text}" if how.kind == "no" else f"{how.kind}: {command.script()}"
            print(f"{command.place}  {shown}")
        return 0
    runnable = [c for c in chosen if c.how.kind != "no"]  # type: ignore[union-attr]
    began = time.monotonic()
    failed = run_all(runnable)
    print(f"{len(runnable) - failed} of {len(runnable)} commands worked, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
