# SPDX-License-Identifier: BSD-3-Clause
"""Random networks: the same for the same seed, and alive: outputs answer to every input."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gr00t_rl.gr00t
from gr00t_rl.gr00t import Gr00tN1d5, Gr00tN1d5Processor
from gr00t_rl.gr00t.n1d5 import tiny_tokenizer


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
    for (key, a), b in zip(first.state_dict().items(), half.state_dict().values(), strict=True):
        assert torch.equal(a.bfloat16(), b), key


def test_names_of_the_package_resolve():
    assert sorted(name for names in gr00t_rl.gr00t._MODULES.values() for name in names) == sorted(
        gr00t_rl.gr00t.__all__
    )
    assert all(getattr(gr00t_rl.gr00t, name) is not None for name in gr00t_rl.gr00t.__all__)
    with pytest.raises(AttributeError, match="Gr00tN2"):
        _ = gr00t_rl.gr00t.Gr00tN2  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("seed", [0, 1])
def test_random_network_answers_to_its_inputs(tiny_config, seed):
    model = Gr00tN1d5.from_config(tiny_config, seed=seed)
    processor = Gr00tN1d5Processor(tiny_config, tiny_tokenizer(tiny_config), "Lift the cube.", num_views=1)
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=generator)
    patch = image.clone()
    patch[:, :16, :16] = 255 - patch[:, :16, :16]
    prompt = processor.prompt(2)
    features = model.encode(processor.images([image]), prompt)
    changed = model.encode(processor.images([patch]), prompt)
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


OF_UTILS = ("utils.fakes", "utils.foreign_files", "utils.whole_files")
"""They need the standard library and torch alone."""


def test_package_imports_the_network_libraries_only():
    allowed = {"torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "flash_attn", "peft"}
    for file in Path(gr00t_rl.gr00t.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                # the modules from outside need the standard library and torch alone
                ours = node.level <= 1 or (node.level == 2 and node.module in OF_UTILS)
                assert ours, f"{file.name} imports from outside the package"
                names = [] if node.level else [node.module or ""]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            roots = {name.split(".")[0] for name in names}
            assert roots <= allowed | sys.stdlib_module_names, f"{file.name} imports {roots}"


@pytest.mark.parametrize("asked", [True, False])
def test_cudnn_times_nothing_for_a_new_number_of_pictures(tiny_config, monkeypatch, asked):
    """Isaac Lab's train asks it to, for shapes that stay; the number of envs that decide does not. Its wish is kept."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", asked)
    model, seen = Gr00tN1d5.from_config(tiny_config, seed=0), []
    eagle = model.backbone.eagle_model
    patches = eagle.vision_model.embeddings.patch_embedding
    patches.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.benchmark))
    eagle.vision_features(torch.zeros(2, 3, eagle.image_size, eagle.image_size))
    assert seen == [False] and torch.backends.cudnn.benchmark is asked
