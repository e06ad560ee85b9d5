# SPDX-License-Identifier: BSD-3-Clause
"""``gr00t-rl doctor``: what works on this machine, and how to get the rest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import verb_parser

DESCRIPTION = """Show what is installed, which devices, physics, renderers, attention kernels and loggers work here, and
how to get what is missing. The last line says whether the README's first command can run; if it cannot, the exit status
is 1."""
EXAMPLES = """
  gr00t-rl doctor
  gr00t-rl doctor && gr00t-rl train --task Gr00t-Pick-Place-Cube-Franka --device cpu"""
FIRST_COMMAND = "isaaclab train --rl_library rsl_rl --task Gr00t-Pick-Place-Cube-Franka --device cpu"


def build_parser() -> argparse.ArgumentParser:
    """No options."""
    return verb_parser("doctor", DESCRIPTION, EXAMPLES)


def main(argv: Sequence[str] | None = None) -> int:
    """Examine this machine; returns 0 if the README's first command can run here, and 1 otherwise."""
    build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    from ..doctor import examine

    lacking: list[str] = []
    for section in examine():
        print(section.title)
        width = max(len(finding.name) for finding in section.findings)
        for finding in section.findings:
            mark = "ok" if finding.works else "NO" if finding.needed else "-"
            get = "" if finding.works or not finding.get else f": {finding.get}"
            print(f"  {mark:3} {finding.name:{width}}  {finding.found}{get}", flush=True)
            if finding.needed and not finding.works:
                lacking.append(finding.name)
    if lacking:
        print(f"\nThe README's first command cannot run here: see {', '.join(lacking)} (NO) above.")
        return 1
    print(f"\nThe README's first command can run here: {FIRST_COMMAND}")
    return 0
