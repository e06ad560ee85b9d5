# SPDX-License-Identifier: BSD-3-Clause
"""The reference checkpoints of N1.7 (random weights, written by the released classes) and a tiny random network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gr00t_rl.gr00t.n1d7.config import Gr00tN1d7Config
from gr00t_rl.gr00t.n1d7.model import Gr00tN1d7
from gr00t_rl.gr00t.tokens import Prompt

FIXTURES = Path(__file__).parents[2] / "fixtures"


class Batch(NamedTuple):
    """Pictures and prompts for the backbone of ``tiny``."""

    pixels: Tensor
    prompt: Prompt


@pytest.fixture(scope="module", params=["gr00t_n1d7_tiny", "gr00t_n1d7_tiny_b"])
def fixture_dir(request: pytest.FixtureRequest) -> Path:
    """Two sets of sizes, see ``source/standalone/tools/golden_n1d7.py``."""
    return FIXTURES / request.param


@pytest.fixture(scope="module")
def io(fixture_dir: Path) -> dict[str, Tensor]:
    """Inputs and outputs of the released code on the fixture."""
    return load_file(fixture_dir / "reference_io.safetensors")


@pytest.fixture(scope="module")
def extra(fixture_dir: Path) -> dict[str, Tensor]:
    """Its image encoder, a run without pictures, and its training loss."""
    return load_file(fixture_dir / "reference_extra.safetensors")


@pytest.fixture
def model(fixture_dir: Path) -> Gr00tN1d7:
    """The fixture's network in float32."""
    return Gr00tN1d7.from_pretrained(fixture_dir, dtype=torch.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the first fixture that a test may damage."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(FIXTURES / "gr00t_n1d7_tiny", copy)
    return copy


@pytest.fixture(scope="session")
def tiny_config() -> Gr00tN1d7Config:
    return Gr00tN1d7Config.tiny()


@pytest.fixture
def tiny(tiny_config: Gr00tN1d7Config) -> Gr00tN1d7:
    return Gr00tN1d7.from_config(tiny_config, seed=0)


@pytest.fixture
def batch(tiny_config: Gr00tN1d7Config) -> Batch:
    """Two samples of four pictures, of which the second and the third are of one size and the last has two frames."""
    generator = torch.Generator().manual_seed(1)
    grids = ((1, 4, 6), (1, 4, 4), (1, 2, 8), (2, 4, 6))
    patches = sum(t * h * w for t, h, w in grids)
    pixels = torch.randn(2 * patches, tiny_config.vision.patch_values, generator=generator)
    image = [tiny_config.image_token_id]
    row = [3, 5]
    for grid in grids:
        row += [tiny_config.vision_start_token_id, *image * tiny_config.tokens_of(grid), 9]
    texts = torch.randint(10, 200, (2, 6), generator=generator)
    return Batch(pixels, Prompt(torch.cat((torch.tensor([row, row]), texts), dim=1), grids=grids))
