"""Resolve the newest versions that the ranges allow and pin them all: `python .ci/pin.py`.

Writes `constraint-dependencies` in pyproject.toml, which uv obeys by itself, and constraints.txt, the same for pip.
"""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
PINS = re.compile(r"^constraint-dependencies = \[.*?^\]\n", re.DOTALL | re.MULTILINE)
EXPORT = "uv export --all-extras --no-hashes --no-annotate --no-header --no-emit-workspace --quiet"


def write_pins(pins: list[str]) -> None:
    """Put the pins into pyproject.toml in place of the old ones, and into constraints.txt."""
    project = ROOT / "pyproject.toml"
    block = "".join(["constraint-dependencies = [\n", *(f'    "{pin}",\n' for pin in pins), "]\n"])
    project.write_text(PINS.sub(lambda _: block, project.read_text(), count=1))
    (ROOT / "constraints.txt").write_text("".join(f"{pin}\n" for pin in pins))


if __name__ == "__main__":
    write_pins([])
    subprocess.run(["uv", "lock", "--upgrade"], cwd=ROOT, check=True)
    exported = subprocess.run(EXPORT.split(), cwd=ROOT, check=True, capture_output=True, text=True).stdout
    write_pins(sorted(line.split(";")[0].strip() for line in exported.splitlines()))
