# SPDX-License-Identifier: BSD-3-Clause
"""The reference checkpoint (random weights, written by the released classes) and a tiny random network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gr00t_rl.gr00t import Gr00tN1d5, Gr00tN1d5Config

FIXTURE = Path(__file__).parents[1] / "fixtures" / "gr00t_n1d5_tiny"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this folder may ask the hub for anything."""

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr("gr00t_rl.gr00t.checkpoint.snapshot_download", fail)


@pytest.fixture(scope="session")
def fixture_dir() -> Path:
    return FIXTURE


@pytest.fixture(scope="session")
def io() -> dict[str, Tensor]:
    """Inputs and outputs of the released code on the fixture."""
    return load_file(FIXTURE / "reference_io.safetensors")


@pytest.fixture
def model() -> Gr00tN1d5:
    """The fixture's network in float32."""
    return Gr00tN1d5.from_pretrained(FIXTURE, dtype=torch.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the fixture that a test may damage."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(FIXTURE, copy)
    return copy


@pytest.fixture(scope="session")
def tiny_config() -> Gr00tN1d5Config:
    return Gr00tN1d5Config.tiny()


@pytest.fixture
def tiny(tiny_config: Gr00tN1d5Config) -> Gr00tN1d5:
    return Gr00tN1d5.from_config(tiny_config, seed=0)
