"""Installs the extension. Everything but the version, which Kit reads from the same file, is in pyproject.toml."""

import tomllib
from pathlib import Path

from setuptools import setup

EXTENSION = tomllib.loads((Path(__file__).parent / "config" / "extension.toml").read_text())

setup(version=EXTENSION["package"]["version"])
