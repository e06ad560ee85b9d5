# SPDX-License-Identifier: BSD-3-Clause
"""A run's checkpoint becomes a GR00T checkpoint again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensordict import TensorDict

from gr00t_rl.gr00t import Gr00tN1d5, Gr00tN1d5Config, tokenizer_assets
from gr00t_rl.gr00t.n1d5 import tiny_tokenizer
from gr00t_rl.models import Gr00tActor
from gr00t_rl.models.trained import trained_network
from gr00t_rl.utils.errors import ConfigurationError
from gr00t_rl.utils.simulators import picture_sizes_of

ACTION, STEPS = 2, 4


def observations(n: int, images: bool) -> TensorDict:
    generator = torch.Generator().manual_seed(n)
    obs = TensorDict({"policy": torch.randn(n, 5, generator=generator)}, [n])
    if images:
        obs["front"] = torch.randint(0, 256, (n, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return obs


def write_run(folder: Path, images: bool = False, **kwargs: Any) -> tuple[Path, Gr00tActor]:
    """A trained actor and its checkpoint, as rsl_rl's runner and Isaac Lab's ``train`` leave them."""
    groups = {"actor": ["policy", "front"] if images else ["policy"], "critic": ["policy"]}
    settings = {"checkpoint": "tiny", "tokenizer": None, "embodiment_id": 0, "tiny_seed": 3, "n_action_steps": STEPS}
    settings |= {"init_noise_scale": 0.0, **kwargs}
    actor = Gr00tActor(observations(2, images), groups, "actor", ACTION, instruction="Push.", **settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in actor.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    (folder / "params").mkdir()
    (folder / "params" / "agent.yaml").write_text(yaml.safe_dump({"actor": settings}))
    # as Isaac Lab writes tuples
    (folder / "params" / "env.yaml").write_text("camera_size: 32\nviewer:\n  eye: !!python/tuple\n  - 7.5\n  - 1.0\n")
    file = folder / "model_7.pt"
    torch.save({"actor_state_dict": actor.state_dict(), "iter": 7}, file)
    return file, actor


@pytest.mark.parametrize("train", ["full", "lora"])
@pytest.mark.parametrize("images", [False, True])
def test_exported_network_acts_like_the_trained_actor(tmp_path, images, train):
    """Trained in full, to the bit; adapters are merged, and a plain network is written."""
    adapters = dict.fromkeys(("llm", "vl_self_attention", "dit"), "lora") | {"projectors": "full"}
    file, trained = write_run(tmp_path, images, **({"train": adapters, "lora_rank": 3} if train == "lora" else {}))
    trained_network(file).save_pretrained(tmp_path / "out")
    groups = {"actor": ["policy", "front"] if images else ["policy"], "critic": ["policy"]}
    obs = observations(3, images)
    again, base = (
        Gr00tActor(
            obs,
            groups,
            "actor",
            ACTION,
            instruction="Push.",
            n_action_steps=STEPS,
            init_noise_scale=0.0,
            checkpoint=checkpoint,
            tiny_seed=3,
        )
        for checkpoint in (str(tmp_path / "out"), "tiny")
    )
    with torch.no_grad():
        atol = 0.0 if train == "full" else 1e-5
        torch.testing.assert_close(again.act_chunk(obs), trained.act_chunk(obs), atol=atol, rtol=0)
        assert (base.act_chunk(obs) - trained.act_chunk(obs)).abs().max() > 1e-3


def test_the_other_embodiments_stay(tmp_path):
    Gr00tN1d5.from_config(tiny_config(), seed=1).save_pretrained(tmp_path / "base")
    before = Gr00tN1d5.from_pretrained(tmp_path / "base", torch.float32).action_head.action_decoder.layer2.W
    file, trained = write_run(
        tmp_path, checkpoint=str(tmp_path / "base"), tokenizer=tokenizer(tmp_path), embodiment_id=2
    )
    trained_network(file).save_pretrained(tmp_path / "out")
    after = Gr00tN1d5.from_pretrained(tmp_path / "out", torch.float32).action_head.action_decoder.layer2.W
    assert torch.equal(after[[0, 1, 3]], before[[0, 1, 3]])
    assert torch.equal(after[2], trained.model.action_head.action_decoder.layer2.W[0])


def tiny_config() -> Gr00tN1d5Config:
    return Gr00tN1d5Config.tiny(action_horizon=STEPS)


def tokenizer(folder: Path) -> str:
    tiny_tokenizer(tiny_config()).save_pretrained(folder / "tokenizer")
    return str(folder / "tokenizer")


def test_wrong_files_end_in_one_line(tmp_path):
    file, _ = write_run(tmp_path)
    with pytest.raises(ConfigurationError, match=r"other base weights .*--base \(the run had .*checkpoint='"):
        trained_network(file, base=str(other_base(tmp_path)))
    (tmp_path / "broken.pt").write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ConfigurationError, match=r"broken\.pt cannot be read"):
        trained_network(tmp_path / "broken.pt")
    with pytest.raises(ConfigurationError, match=r"gone\.pt does not exist"):
        trained_network(tmp_path / "gone.pt")
    torch.save({"actor_state_dict": {"mlp.0.weight": torch.zeros(1)}}, tmp_path / "mlp.pt")
    with pytest.raises(ConfigurationError, match=r"mlp\.pt holds no GR00T actor"):
        trained_network(tmp_path / "mlp.pt")
    (tmp_path / "params" / "agent.yaml").unlink()
    with pytest.raises(ConfigurationError, match=r"agent\.yaml, which the run wrote"):
        trained_network(file)


def other_base(folder: Path) -> Path:
    model = Gr00tN1d5.from_config(tiny_config(), seed=4)
    model.assets = tokenizer_assets(tiny_tokenizer(tiny_config()))
    model.save_pretrained(folder / "other")
    return folder / "other"


def test_moments_have_no_place_in_a_checkpoint(tmp_path):
    file, _ = write_run(tmp_path, obs_normalization=True)
    with pytest.raises(ConfigurationError, match="obs_normalization"):
        trained_network(file)


@pytest.mark.parametrize("train", [{"dit": "full"}, {"dit": "lora", "vlln": "full"}], ids=["full", "lora"])
def test_a_base_in_bfloat16_is_not_widened_and_what_was_trained_is_rounded_once(tmp_path, train):
    """Frozen weights keep their type; trained and merged ones are those of a base read in float32."""
    Gr00tN1d5.from_config(tiny_config(), seed=1, dtype=torch.bfloat16).save_pretrained(tmp_path / "base")
    file, trained = write_run(
        tmp_path, checkpoint=str(tmp_path / "base"), tokenizer=tokenizer(tmp_path), train=train, lora_rank=2
    )
    network, wide = trained_network(file), trained.copy()
    wide.merge_adapters()
    moved = dict(wide.model.named_parameters())
    types = {name: p.dtype for name, p in network.named_parameters()}
    assert types["action_head.model.transformer_blocks.0.ff.net.2.weight"] == torch.float32
    assert types["backbone.eagle_model.mlp1.0.weight"] == torch.bfloat16
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter.float(), moved[name].float()), name


def test_sizes_of_pictures_are_those_of_the_scenes_cameras():
    """A task that is not ours has no camera_size: its groups' terms name cameras. What names none is not known."""
    group = {"top": {"image": {"params": {"camera": "above"}}}, "hand": {"image": {"params": {}}}}
    env = {"observations": group, "scene": {"above": {"height": 48, "width": 64}}}
    assert picture_sizes_of(env, {"scene": "top", "wrist": "hand", "gone": "gone"}) == {"scene": (48, 64)}
    assert picture_sizes_of(env | {"camera_size": 32}, {"scene": "top"}) == {"scene": (32, 32)}
    assert picture_sizes_of({}, {"scene": "top"}) == {}
