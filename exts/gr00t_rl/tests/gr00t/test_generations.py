# SPDX-License-Identifier: BSD-3-Clause
"""Every generation offers what ``generations.py`` says, and a checkpoint gets the network of its own."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
import torch

from gr00t_rl.gr00t import CheckpointError, Gr00tNetwork, Gr00tProcessor, from_pretrained, tokenizer_assets
from gr00t_rl.gr00t.checkpoint import CHECKPOINT_FILES
from gr00t_rl.gr00t.generations import (
    GENERATIONS,
    TINY,
    Backbone,
    Generation,
    NetworkConfig,
    generation,
    tiny_for_image,
)
from gr00t_rl.gr00t.loading import generation_of_folder
from gr00t_rl.gr00t.part_names import LORA_OF_HEAD, LORA_PARTS, PARTS
from gr00t_rl.gr00t.parts import lora_layers, part_modules


def offered(protocol: type) -> set[str]:
    """Public names of a protocol: annotated attributes, methods and properties."""
    return {name for name in {*protocol.__annotations__, *vars(protocol)} if not name.startswith("_")}


@pytest.fixture(params=GENERATIONS)
def of(request: pytest.FixtureRequest) -> Generation:
    return generation(request.param)


@pytest.fixture
def network(of: Generation) -> Gr00tNetwork:
    return of.Network.from_config(of.Config.tiny(), seed=0)


def test_a_save_replaces_the_files_of_any_generation(of, network, tmp_path):
    """What another generation's checkpoint left in the folder would be read as this one's; the user's files stay."""
    assert {*of.LAYOUT.sizes, *of.LAYOUT.assets} <= set(CHECKPOINT_FILES)
    for name in (*CHECKPOINT_FILES, "notes.txt"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("{}")
    network.assets = {}
    network.save_pretrained(tmp_path / "out")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {*of.Config.files, "model.safetensors.index.json", "model-00001-of-00001.safetensors", "notes.txt"}


def test_names_of_the_protocols_are_there(of, network):
    for protocol, thing in ((Generation, of), (NetworkConfig, of.Config.tiny()), (Backbone, network.backbone)):
        missing = {name for name in offered(protocol) if not hasattr(thing, name)}
        assert offered(protocol) and not missing, protocol.__name__
    assert issubclass(of.Network, Gr00tNetwork) and issubclass(of.Processor, Gr00tProcessor)


def test_methods_take_what_the_protocols_say(of, network):
    """The same parameters in the same order; a generation may add some that have a default."""
    for protocol, thing in ((Generation, of), (NetworkConfig, of.Config), (Backbone, network.backbone)):
        methods = {n: m for n, m in inspect.getmembers(protocol, inspect.isroutine) if not n.startswith("_")}
        for name, method in methods.items():
            if name == "tiny":  # whose sizes are a generation's own
                continue
            expected = [p for p in inspect.signature(method).parameters if p not in ("self", "cls")]
            found = [p for p in inspect.signature(getattr(thing, name)).parameters if p not in ("self", "cls")]
            assert found[: len(expected)] == expected, f"{protocol.__name__}.{name}"


def test_it_is_told_by_its_names(of):
    name = of.Config.generation
    assert generation(name) is of and name in TINY.values()
    others = [generation(other).MODEL_TYPE for other in GENERATIONS if other != name]
    assert of.MODEL_TYPE not in others
    assert of.Config.tiny().to_files("float32")[of.Config.files[0]]["model_type"] == of.MODEL_TYPE
    assert of.LAYOUT is of.Network.layout


def test_sizes_of_a_tiny_network_are_integers_with_a_default(of):
    parameters = inspect.signature(of.Config.tiny).parameters
    for name, parameter in parameters.items():
        assert parameter.kind is parameter.KEYWORD_ONLY, name
        assert isinstance(parameter.default, int) or (parameter.default is None and name == "image_token_index"), name
    assert {"image_size", "action_horizon", "action_dim", "max_state_dim"} <= parameters.keys()


@pytest.mark.parametrize("side", [None, 16, 32, 50, 224])
def test_tiny_networks_for_pictures(of, side):
    config = tiny_for_image(of.Config, side, action_horizon=3)
    assert config.action_head.action_horizon == 3
    processor = of.Processor(config, of.tiny_tokenizer(config), num_views=1, image_sizes=[(side or 64,) * 2])
    pictures = processor.images([torch.zeros(2, side or 64, side or 64, 3, dtype=torch.uint8)])
    network = of.Network.from_config(config)
    prompt = processor.prompt(2)
    assert network.encode(pictures, prompt).shape == (2, processor.prompt_length, config.feature_dim)
    assert int(network.backbone.is_image(prompt.input_ids[0]).sum()) > 0


@pytest.mark.parametrize("size", ["tiny", "full_size"])
def test_sizes_survive_their_files(of, size):
    config = getattr(of.Config, size)()
    files = json.loads(json.dumps(config.to_files("bfloat16")))
    assert set(files) <= set(of.Config.files)
    assert of.Config.from_files(files) == config
    changed = of.Config.tiny(action_horizon=7, dit_layers=6)
    assert of.Config.from_files(changed.to_files("float32")) == changed != of.Config.tiny()


def test_every_part_has_modules_and_lora_finds_its_layers(network):
    modules = part_modules(network)
    assert tuple(modules) == PARTS and all(modules.values())
    assert {*network.backbone.lora_targets, *LORA_OF_HEAD} == {*LORA_PARTS}
    parameters = [p for part in modules.values() for module in part for p in module.parameters()]
    assert len({id(p) for p in parameters}) == len(parameters)  # in one part each
    for part in LORA_PARTS:
        assert len(lora_layers(network, part)) >= 4, part


def test_a_checkpoint_gets_the_network_of_its_generation(of, network, tmp_path):
    network.assets = tokenizer_assets(of.tiny_tokenizer(network.config))
    network.save_pretrained(tmp_path / "saved")
    assert generation_of_folder(tmp_path / "saved") is of
    again = from_pretrained(tmp_path / "saved", dtype=torch.float32)
    assert type(again) is of.Network and again.config == network.config
    for (name, a), b in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("content", [{"model_type": "gr00t_n9"}, {}])
def test_other_networks_are_refused_in_one_line(content: dict[str, Any], tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as error:
        from_pretrained(tmp_path)
    text = str(error.value)
    assert "\n" not in text and repr(content.get("model_type")) in text
    assert all(repr(generation(name).MODEL_TYPE) in text for name in GENERATIONS)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=f"generation is 'n2': set one of {', '.join(GENERATIONS)}"):
        generation("n2")
