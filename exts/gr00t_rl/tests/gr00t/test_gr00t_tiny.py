# SPDX-License-Identifier: BSD-3-Clause
"""Random networks: the same for the same seed, and alive: outputs answer to every input."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gr00t_rl.gr00t
from gr00t_rl.gr00t import Gr00tN1d5, Gr00tProcessor, load_tokenizer, tiny_tokenizer

TOOL = Path(__file__).parents[4] / "source" / "standalone" / "tools" / "make_tiny_checkpoint.py"


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / a.norm()).item()


def test_same_seed_same_bits_and_no_trace(tiny_config):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = Gr00tN1d5.from_config(tiny_config, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    second, other = Gr00tN1d5.from_config(tiny_config, seed=3), Gr00tN1d5.from_config(tiny_config, seed=4)
    for (key, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    assert not torch.equal(first.action_head.action_encoder.W1.W, other.action_head.action_encoder.W1.W)
    assert not first.training
    half = Gr00tN1d5.from_config(tiny_config, seed=3, dtype=torch.bfloat16)
    assert torch.equal(half.action_head.action_encoder.W1.W, first.action_head.action_encoder.W1.W.bfloat16())


@pytest.mark.parametrize("seed", [0, 1])
def test_random_network_answers_to_its_inputs(tiny_config, seed):
    model = Gr00tN1d5.from_config(tiny_config, seed=seed)
    processor = Gr00tProcessor(tiny_config, tiny_tokenizer(tiny_config), "Lift the cube.", num_views=1)
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=generator)
    patch = image.clone()
    patch[:, :16, :16] = 255 - patch[:, :16, :16]
    ids, mask = processor.prompt(2)
    features = model.encode(processor.images([image]), ids, mask)
    changed = model.encode(processor.images([patch]), ids, mask)
    assert relative(features, changed) > 0.05
    assert relative(features[:, -1], changed[:, -1]) > 0.01  # the change reaches the end of the prompt

    head = model.action_head
    vl, x = head.process_features(features), torch.randn(2, 16, 32, generator=generator)
    robot, bucket, state = (
        torch.zeros(2, dtype=torch.long),
        torch.full((2,), 250),
        torch.randn(2, 9, generator=generator),
    )
    ctx = head.prepare(vl, processor.state(state), robot)
    v = head.velocity(x, bucket, ctx)
    assert 0.05 < v.std() < 5
    assert relative(v, head.velocity(x, bucket, head.prepare(vl, processor.state(-state), robot))) > 0.01
    seen = head.prepare(head.process_features(changed), processor.state(state), robot)
    assert relative(v, head.velocity(x, bucket, seen)) > 0.01
    assert relative(v, head.velocity(-x, bucket, ctx)) > 0.1
    assert relative(v, head.velocity(x, 3 * bucket, ctx)) > 0.01


def test_tool_writes_a_checkpoint_that_runs(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("make_tiny_checkpoint", TOOL)
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    out = tmp_path / "tiny"
    assert tool.main(["--out", str(out), "--seed", "5", "--image-size", "32", "--dit-layers", "4"]) == 0
    model = Gr00tN1d5.from_pretrained(out, dtype=torch.float32)
    assert model.config.vision.image_size == 32 and len(model.action_head.model.transformer_blocks) == 4
    processor = Gr00tProcessor(model.config, load_tokenizer(out), "Push.", num_views=1)
    ids, mask = processor.prompt(2)
    inputs = {
        "eagle_pixel_values": processor.images([torch.zeros(2, 32, 32, 3, dtype=torch.uint8)]),
        "eagle_input_ids": ids,
        "eagle_attention_mask": mask,
        "state": processor.state(torch.zeros(2, 9)),
        "embodiment_id": torch.tensor([0, 1]),
    }
    assert model.get_action(inputs).shape == (2, 16, 32)
    capsys.readouterr()
    assert tool.main(["--out", str(out), "--dit-heads", "7"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_package_imports_the_network_libraries_only():
    allowed = {"torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "flash_attn"}
    for file in Path(gr00t_rl.gr00t.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                # the one module from outside needs the standard library alone
                ours = node.level <= 1 or (node.level == 2 and node.module == "utils.whole_files")
                assert ours, f"{file.name} imports from outside the package"
                names = [] if node.level else [node.module or ""]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            roots = {name.split(".")[0] for name in names}
            assert roots <= allowed | sys.stdlib_module_names, f"{file.name} imports {roots}"
