# SPDX-License-Identifier: BSD-3-Clause
"""No document shows a command that nobody runs, and the program that runs them notices when one fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import run_documented_commands as program
from run_documented_commands import How, commands_of, documented_commands, parse_marker, with_settings

DOCUMENT = """\
Install with `pip install this` or that.

<!-- run: quick --episodes 4 -->
<!-- run: no, it needs a GPU -->
```bash
export THREADS=1
# a comment
THREADS=2 python train.py --episodes 500 \\
    --out runs   # hours
python big.py --size '# not a comment'
```

`gr00t-rl collect` is a verb, `code` is none; `python` alone neither.

```python
python = "not a command"
```

<!-- run: full RUN:=logs/* -->
| do | with |
|---|---|
| play | `uv run play.py RUN` |
| stop | `THREADS=1 uv run stop.py RUN` |
"""


def test_every_documented_command_says_how_it_is_run() -> None:
    commands, problems = documented_commands()
    assert problems == []
    assert len(commands) > 40
    assert {command.how.kind for command in commands if command.how} == {"quick", "full", "no"}


def test_commands_are_found_with_their_markers() -> None:
    commands, problems = commands_of("d.md", DOCUMENT)
    assert problems == ["d.md:1: `pip install this` has no marker; put <!-- run: ... --> before it"]
    found = [(c.line, c.text, c.how and c.how.kind) for c in commands]
    assert found == [
        (1, "pip install this", None),
        (8, "THREADS=2 python train.py --episodes 500 --out runs", "quick"),
        (10, "python big.py --size '# not a comment'", "no"),
        (22, "uv run play.py RUN", "full"),
        (23, "THREADS=1 uv run stop.py RUN", "full"),
    ]
    assert commands[1].script() == "export THREADS=1\nTHREADS=2 python train.py --out runs --episodes 4"
    assert commands[3].script() == "uv run play.py logs/*"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```bash\nls\n```", "d.md:2: `ls` has no marker"),
        ("<!-- run: quick -->\n<!-- run: quick -->\n```bash\na\nb\nc\n```", "d.md:1: 2 markers for 3 commands"),
        ("<!-- run: quick -->\nNothing to run.", "d.md:1: a marker, but no command follows"),
        ("<!-- run: quick -->\n", "d.md:1: a marker, but no command follows"),
        ("<!-- run: no -->\n```bash\nls\n```", "d.md:1: 'no' needs a reason"),
        ("<!-- run: slow -->\n```bash\nls\n```", "d.md:1: 'slow' is no way to run"),
    ],
)
def test_wrong_markers_are_named(text: str, problem: str) -> None:
    _, problems = commands_of("d.md", text)
    assert len(problems) == 1 and problems[0].startswith(problem)


def test_markers() -> None:
    assert parse_marker("no, hours of training") == How("no", "hours of training")
    how = parse_marker('full if:moviepy "until:is running" A/B:=c --num_envs 4 "D E:=f"')
    assert how == How("full", "", ("--num_envs", "4"), (("A/B", "c"), ("D E", "f")), "moviepy", "is running")


@pytest.mark.parametrize(
    ("command", "settings", "expected"),
    [
        ("p --n 1 --m 2", "--n 3", "p --m 2 --n 3"),
        ("p --n=1 file", "--n 3", "p file --n 3"),
        ("p --seeds 1 2 3 env.a=4", "--seeds 1", "p env.a=4 --seeds 1"),
        ("p --run T:a:--x=1 --run T:b --out o", "--run T:c:--x=2", "p --out o --run T:c:--x=2"),
        ("p --tiny file", "--tiny", "p file --tiny"),
        ("""p "a.b=['x', 'y']" a.c=2""", "a.b=[] a.c=1", "p 'a.b=[]' a.c=1"),
        ("p", "--run logs/*", "p --run logs/*"),
    ],
)
def test_settings_take_the_place_of_the_commands_own(command: str, settings: str, expected: str) -> None:
    assert with_settings(command, tuple(settings.split())) == expected


@pytest.fixture
def run_text(monkeypatch, tmp_path, capsys):
    """Runs the commands of a document in an empty tree; returns how many failed, and what was printed."""
    monkeypatch.setattr(program, "copy_tree", lambda target: target.mkdir())

    def run(text: str) -> tuple[int, str]:
        commands, problems = commands_of("d.md", text)
        assert problems == []
        return program.run_all(commands), capsys.readouterr().out

    return run


def test_commands_share_a_folder_and_a_failure_is_shown(run_text) -> None:
    commands = "echo here > file\nuv run cat file\nuv run --extra x python -c 'exit(len(1))'"
    failed, shown = run_text(f"<!-- run: quick -->\n```bash\n{commands}\n```")
    assert failed == 1
    assert shown.count("done in") == 2 and "    FAILED in" in shown
    assert "    | TypeError: object of type 'int' has no len()" in shown
    assert not Path("file").exists()


@pytest.mark.parametrize(("end", "failures"), [("pass", 0), ("exit(3)", 1)])
def test_a_program_that_goes_on_is_interrupted(run_text, end: str, failures: int) -> None:
    code = f'import time; print("is running")\\ntry: time.sleep(99)\\nexcept KeyboardInterrupt: {end}'
    text = f"<!-- run: full \"until:is running\" -->\n```bash\npython -c $'{code}'\n```"
    failed, shown = run_text(text)
    assert failed == failures, shown


def test_what_is_not_installed_is_left_out(run_text) -> None:
    failed, shown = run_text("<!-- run: full if:no_such_module -->\n```bash\nfalse\n```")
    assert failed == 0 and "left out: no_such_module is not installed" in shown
