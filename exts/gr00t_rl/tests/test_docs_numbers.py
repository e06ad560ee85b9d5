# SPDX-License-Identifier: BSD-3-Clause
"""Numbers in the documents that the code knows: sizes, rows of weights, defaults."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from gr00t_rl.gr00t.generations import GENERATIONS, generation
from gr00t_rl.gr00t.part_names import LORA_PARTS, PARTS, is_adapter
from gr00t_rl.gr00t.parts import part_parameters
from gr00t_rl.models.trainable import make_trainable

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "exts" / "gr00t_rl" / "gr00t_rl" / "assets" / "checkpoints"
COLUMN = {"n1.5": 0, "n1.7": 1}
"""Generation -> its column in tables that compare them."""


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def cells(text: str, first: str, others: int = 2) -> list[str]:
    """The ``others`` cells of the only row that begins with ``first`` and has so many beside it."""
    rows = [line.split("|")[2:-1] for line in text.splitlines() if line.startswith(f"| {first} |")]
    found = [row for row in rows if len(row) == others]
    assert len(found) == 1, (first, len(found))
    return [cell.strip() for cell in found[0]]


def assert_shown(shown: str, value: float) -> None:
    """A number at the beginning of ``shown`` is ``value``, rounded to the decimals that it has."""
    found = re.match(r"\d+(?:\.(\d+))?", shown)
    assert found is not None, shown
    assert math.isclose(float(found[0]), value, abs_tol=0.501 * 10.0 ** -len(found[1] or "")), (shown, value)


def millions(parameters: Any) -> float:
    return sum(parameter.numel() for parameter in parameters) / 1e6


@pytest.mark.parametrize("name", GENERATIONS)
def test_full_size_has_the_parameters_of_each_part(name: str) -> None:
    """docs/full_size.md: those of the parts, and of the adapters in them."""
    of, text = generation(name), page("docs/full_size.md")
    with torch.device("meta"):
        model = of.Network(of.Config.full_size())
        assert_shown(cells(page("docs/generations.md"), "parameters")[COLUMN[name]], millions(model.parameters()))
        adapters = make_trainable(model, dict.fromkeys(LORA_PARTS, "lora"), 16, 16.0)
    robots = model.config.action_head.max_num_embodiments
    for part, parameters in part_parameters(model).items():
        own, adapted = cells(text, f"`{part}`", 5)[1:][2 * COLUMN[name] :][:2]
        plain = [p for n, p in parameters.items() if not is_adapter(n)]
        if part == "projectors":  # tables of a robot's own weights have one more dimension, the first
            plain = [p[0] if p.shape[0] == robots else p for p in plain]
        assert_shown(own, millions(plain))
        if part in LORA_PARTS:
            assert_shown(adapted, millions(adapters[part]))
        else:
            assert adapted == "–"
        assert own.endswith(" of one robot") == (part == "projectors")
    assert part_parameters(model).keys() == {*PARTS}


@pytest.mark.parametrize("name", GENERATIONS)
def test_generations_have_the_sizes(name: str) -> None:
    """docs/generations.md: the table of what differs has the sizes of the configs."""
    config: Any = generation(name).Config.full_size()
    head, vision = config.action_head, config.vision
    layers = {"n1.5": "num_hidden_layers", "n1.7": "depth"}[name]
    expected = {
        "image encoder": f"{getattr(vision, layers)} layers of {vision.hidden_size}",
        "language model": f"{config.select_layer} layers",
        "`vl_self_attention`": f"{head.vl_layers} blocks of {head.vl_heads} × {head.vl_head_dim}",
        "DiT": f"{head.dit_layers} blocks of {head.dit_heads} × {head.dit_head_dim}",
        "state, action, horizon": f"{head.max_state_dim}, {head.action_dim}, {head.action_horizon}",
        "times in training, b ~ Beta(1.5, 1), s = 0.999": "(1 − b) s" if head.time_from_zero else "(s − b) / s",
    }
    assert (head.noise_beta_alpha, head.noise_beta_beta, head.noise_s) == (1.5, 1.0, 0.999)
    if name == "n1.5":
        expected["its sequence"] = f"state, {head.num_target_vision_tokens} future tokens, actions"
        expected["picture"] = f"resized to {vision.image_size}², {config.tokens_per_image} tokens"
    else:
        expected["image encoder"] += f"; blocks {', '.join(map(str, vision.deepstack_visual_indexes))} (from 0)"
        side = config.raw_config["image_target_size"][0]
        grid = (1, side // vision.patch_size, side // vision.patch_size)
        expected["picture"] = f"{side}² has {config.tokens_of(grid)} tokens"
    text = page("docs/generations.md")
    told = cells(text, "forward pass of a decision, two cameras, by arithmetic")[COLUMN[name]]
    (tokens,) = re.findall(r"TFLOP \((\d+) tokens\)", told)
    grid = config.grid if name == "n1.5" else (1, 16, 16)
    flops = generation(name).count_flops(config, int(tokens), [grid] * 2)
    assert_shown(told, (flops.encode + flops.denoise(4)) / 1e12)
    for row, shown in expected.items():
        columns = cells(text, row)
        found = columns[0] if columns[COLUMN[name]] == "the same" else columns[COLUMN[name]]
        assert shown in found, (row, shown, found)


def test_the_tiny_network_of_n1d7_has_the_size_that_is_told() -> None:
    of = generation("n1.7")
    with torch.device("meta"):
        told = millions(of.Network(of.Config.tiny()).parameters())
    (shown,) = re.findall(r"the official layout on disk, ([\d.]+) M parameters", page("docs/generations.md"))
    assert_shown(shown, told)


def shipped_parameters(folder: Path) -> float:
    """Numbers in a checkpoint's files, those of a tied weight once [M]."""
    shapes = {}
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        shapes |= {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    return sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith("lm_head.weight")) / 1e6


def test_base_policies_have_the_sizes_that_are_told() -> None:
    """Their README.md: parameters in millions of the state policies, of those with cameras, and of N1.7's."""
    text = (SHIPPED / "README.md").read_text(encoding="utf-8")
    told = re.search(r"\(N1\.5: ([\d.]+) M parameters, with cameras ([\d.]+) M; N1\.7: ([\d.]+) M;", text)
    assert told is not None
    folders = [folder for folder in SHIPPED.iterdir() if folder.is_dir() and folder.name != "__pycache__"]
    assert {folder.name for folder in folders} == {*re.findall(r"^\| `(\w+)`", text, re.MULTILINE)}
    for folder in folders:
        kind = 3 if folder.name.endswith("_n1d7") else 2 if "camera" in folder.name else 1
        assert_shown(told[kind], shipped_parameters(folder))


def test_serving_has_the_rows_and_limits() -> None:
    from gr00t_rl.gr00t.n1d5.processor import RELEASED_ROWS
    from gr00t_rl.gr00t.normalise import MODES
    from gr00t_rl.serving.server import PORT
    from gr00t_rl.serving.wire import MAX_BYTES

    text = page("docs/serving.md")
    (rows,) = re.findall(r"row of the per-embodiment weights; N1\.5: (.*)$", text, re.MULTILINE)
    assert {tag: int(row) for tag, row in re.findall(r"(\w+) (\d+)", rows)} == RELEASED_ROWS
    assert f"A message may have {MAX_BYTES // 2**20} MiB" in text and f"port={PORT}" in text
    (modes,) = re.findall(r"^Modes: (.*?), or null", text, re.MULTILINE)
    assert {*re.findall(r"`(\w+)`", modes)} == {*MODES}


def test_demonstrations_have_the_defaults() -> None:
    from gr00t_rl.cli.collect import build_parser as collect
    from gr00t_rl.cli.finetune import build_parser as finetune
    from gr00t_rl.data.collect import EPISODES_PER_ENV
    from gr00t_rl.data.frame_cache import SEGMENT
    from gr00t_rl.sft.arguments import FROM_RANDOM, OFFICIAL

    text = page("docs/demonstrations.md")
    for column, expected in enumerate((FROM_RANDOM, OFFICIAL)):
        shown = re.sub(r" \(.*", "", cells(text, "`--lr`, `--batch_size`, `--draws`")[column]).split(", ")
        assert [float(number) for number in shown] == [expected[name] for name in ("lr", "batch_size", "draws")]
    assert f"| `--noise {collect().get_default('noise')}` (default) |" in text
    assert f"| `--held_out {finetune().get_default('held_out')}` |" in text
    assert f"| `--save_interval` ({finetune().get_default('save_interval')}) |" in text
    assert f"`--pictures_gb` ({finetune().get_default('pictures_gb'):g})" in text
    assert f"in segments of {SEGMENT} frames" in text and EPISODES_PER_ENV == 4
    assert "(up to four episodes per env)" in text


def test_demonstrations_have_the_tokens_of_tiny() -> None:
    """Of two 64 x 64 pictures and Push's instruction, with patches of 8 and of 16 pixels."""
    from gr00t_rl.gr00t.generations import tiny_for_image

    of, text = generation("n1.5"), page("docs/demonstrations.md")
    tokens = {}
    for patch_size in (8, 16):
        config = tiny_for_image(of.Config, 64, patch_size=patch_size)
        tokenizer, told = of.tiny_tokenizer(config), "push the red cube to the green target"
        processor = of.Processor(config, tokenizer, told, num_views=2, image_sizes=[(64, 64)] * 2)
        tokens[patch_size] = processor.prompt_length
        if patch_size == 8:  # the default; features are cached in float32
            kilobytes = processor.prompt_length * config.feature_dim * 4 / 1e3
            assert f"(tiny: {kilobytes:.0f} KB per frame of two cameras;" in text
    assert f"it has {tokens[8]} now." in text
    assert f"With `--patch_size 16 --vision_hidden_size 96` there are {tokens[16]} tokens" in text
