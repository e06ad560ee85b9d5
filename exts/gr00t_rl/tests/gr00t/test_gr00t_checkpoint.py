# SPDX-License-Identifier: BSD-3-Clause
"""Loading and saving: exactness, atomicity, and one clear line for every way a checkpoint can be wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gr00t_rl.gr00t import CheckpointError, Gr00tN1d5, checkpoint, load_tokenizer, statistics_of, tokenizer_assets
from gr00t_rl.gr00t.loading import without_weights
from gr00t_rl.gr00t.n1d5 import tiny_tokenizer
from gr00t_rl.models.base_weights import blank_weights, load_base
from gr00t_rl.options import Gr00tActorOptions

SHARD_1, SHARD_2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def stored(folder: Path) -> dict[str, torch.Tensor]:
    names = set(json.loads((folder / INDEX).read_text())["weight_map"].values())
    return {key: value for name in sorted(names) for key, value in load_file(folder / name).items()}


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_shard(path: Path, **changes: torch.Tensor | None) -> None:
    tensors = {**load_file(path), **changes}
    save_file({key: value for key, value in tensors.items() if value is not None}, path, metadata={"format": "pt"})


# -- saving -----------------------------------------------------------------------------------------------------------


def test_round_trip_is_exact(fixture_dir, tmp_path):
    Gr00tN1d5.from_pretrained(fixture_dir).save_pretrained(tmp_path / "saved")
    before, after = stored(fixture_dir), stored(tmp_path / "saved")
    assert before.keys() == after.keys()
    for key, value in before.items():
        if not key.endswith("lm_head.weight"):  # unused in the release; written tied to the embedding
            assert value.dtype == after[key].dtype == torch.bfloat16
            assert torch.equal(value, after[key]), key
    embedding = after["backbone.eagle_model.language_model.model.embed_tokens.weight"]
    assert torch.equal(after["backbone.eagle_model.language_model.lm_head.weight"], embedding)
    index = json.loads((tmp_path / "saved" / INDEX).read_text())
    assert index["weight_map"].keys() == json.loads((fixture_dir / INDEX).read_text())["weight_map"].keys()
    assert index["metadata"]["total_size"] == 950176


def test_saved_config_keeps_every_entry_of_its_source(fixture_dir, tmp_path):
    Gr00tN1d5.from_pretrained(fixture_dir).save_pretrained(tmp_path / "saved")

    def assert_within(old: dict, new: dict) -> None:
        for key, value in old.items():
            if isinstance(value, dict):
                assert_within(value, new[key])
            else:
                assert new[key] == value, key

    for name in ("config.json", "eagle_config.json"):
        old, new = (json.loads((folder / name).read_text()) for folder in (fixture_dir, tmp_path / "saved"))
        assert_within(old, new)


def test_float32_weights_save_as_float32(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "saved")
    again = Gr00tN1d5.from_pretrained(tmp_path / "saved", dtype=torch.float32)
    assert again.config == tiny.config
    for (key, value), other in zip(tiny.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(value, other), key
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["torch_dtype"] == "float32"


def test_many_shards(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "MAX_SHARD_BYTES", 500_000)
    tiny.save_pretrained(tmp_path / "saved")
    shards = sorted((tmp_path / "saved").glob("*.safetensors"))
    assert len(shards) > 3
    assert shards[0].name == f"model-00001-of-{len(shards):05d}.safetensors"
    Gr00tN1d5.from_pretrained(tmp_path / "saved")


def test_assets_travel(folder, tmp_path):
    (folder / "experiment_cfg").mkdir()
    (folder / "experiment_cfg" / "metadata.json").write_text('{"gr1": {}}')
    model = Gr00tN1d5.from_pretrained(folder)
    model.assets |= tokenizer_assets(tiny_tokenizer(model.config))
    model.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "experiment_cfg" / "metadata.json").read_text() == '{"gr1": {}}'
    assert Gr00tN1d5.from_pretrained(tmp_path / "saved").assets == model.assets
    assert {"chat_template.json", "tokenizer.json", "tokenizer_config.json"} <= model.assets.keys()


def test_save_over_its_own_source_keeps_other_files(folder):
    (folder / "README.md").write_text("mine")
    model = Gr00tN1d5.from_pretrained(folder)
    with torch.no_grad():
        model.action_head.vlln.bias.fill_(2.0)
    model.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "mine"
    assert not (folder / SHARD_2).exists()  # the old two shards became one
    assert Gr00tN1d5.from_pretrained(folder).action_head.vlln.bias.float().mean() == 2.0
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("existing", [True, False])
def test_failed_save_leaves_everything_as_it_was(model, folder, tmp_path, monkeypatch, existing):
    target = folder if existing else tmp_path / "new"
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    calls = []

    def full_disk(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise OSError("No space left on device")
        save_file(*args, **kwargs)

    monkeypatch.setattr(checkpoint, "MAX_SHARD_BYTES", 500_000)
    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    with pytest.raises(CheckpointError, match="No space left"):
        model.save_pretrained(target)
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_failed_rename_restores_the_old_checkpoint(model, folder, monkeypatch):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    rename = Path.rename

    def fail(self, target):
        if ".saving-" in self.name:
            raise OSError("busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(CheckpointError, match="busy"):
        model.save_pretrained(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_next_save_removes_what_killed_ones_left(model, folder):
    """Half-written folders, and the checkpoint that was moved aside, once the new one is there."""
    left = [folder.with_name(f".{folder.name}.{kind}-abc") for kind in ("saving", "old")]
    other = folder.with_name(f".{folder.name}s.saving-abc")
    for path in (*left, other):
        path.mkdir()
        os.utime(path, (0, 0))
    model.save_pretrained(folder)
    assert sorted(p.name for p in folder.parent.iterdir()) == sorted([folder.name, other.name])


def test_save_refuses_a_folder_with_other_things(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="no checkpoint: choose an empty or new folder"):
        tiny.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="is a file"):
        tiny.save_pretrained(tmp_path / "thesis.tex")


def test_save_refuses_unmerged_adapters(tiny, tmp_path):
    tiny.action_head.vlln.lora_A = torch.nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="merge adapters"):
        tiny.save_pretrained(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


# -- loading ----------------------------------------------------------------------------------------------------------


def test_no_buffer_is_left_on_meta(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert not [name for name, tensor in tensors.items() if tensor.is_meta]


def test_both_spellings_of_vision_keys_load(folder, io):
    tensors = load_file(folder / SHARD_2)
    save_file(
        {k.replace("vision_model.vision_model.", "vision_model."): v for k, v in tensors.items()}, folder / SHARD_2
    )
    actions = Gr00tN1d5.from_pretrained(folder, torch.float32).get_action(io, noise=io["noise"])
    torch.testing.assert_close(actions, io["action_pred_steps4"], rtol=0, atol=1e-5)


def test_checkpoint_without_lm_head_or_index_loads(folder):
    whole = stored(folder)
    whole.pop("backbone.eagle_model.language_model.lm_head.weight")
    for name in (SHARD_1, SHARD_2, INDEX):
        (folder / name).unlink()
    save_file(whole, folder / "model.safetensors")
    Gr00tN1d5.from_pretrained(folder)


def test_loaded_weights_do_not_hang_on_the_file(folder):
    model = Gr00tN1d5.from_pretrained(folder)
    before = model.action_head.vlln.weight.clone()
    shard = folder / SHARD_1
    with shard.open("r+b") as file:
        file.write(b"\0" * shard.stat().st_size)
    assert torch.equal(model.action_head.vlln.weight, before)


def damage(folder: Path, kind: str) -> None:
    """Break a copy of the fixture in one way."""
    shard = folder / SHARD_1
    head = json.loads((folder / "config.json").read_text())["action_head_cfg"]
    actions = {
        "truncated": lambda: shard.write_bytes(shard.read_bytes()[:-1000]),
        "empty shard": lambda: shard.write_bytes(b""),
        "pointer file": lambda: shard.write_text("version https://git-lfs\noid sha256:0\nsize 5\n"),
        "missing shard": shard.unlink,
        "missing index": (folder / INDEX).unlink,
        "index is no table": lambda: (folder / INDEX).write_text("[]"),
        "index without map": lambda: (folder / INDEX).write_text("{}"),
        "bad json": lambda: (folder / "config.json").write_text('{"model_type": '),
        "bad eagle json": lambda: (folder / "eagle_config.json").write_text("\x00"),
        "no config": (folder / "config.json").unlink,
        "wrong model_type": lambda: edit_json(folder / "config.json", model_type="gr00t_n1_6"),
        "no head section": lambda: edit_json(folder / "config.json", action_head_cfg=None),
        "size is text": lambda: edit_json(folder / "config.json", action_head_cfg={**head, "hidden_size": "32"}),
        "other network": lambda: edit_json(folder / "config.json", action_head_cfg={**head, "use_vlln": False}),
        "missing keys": lambda: edit_shard(shard, **{"action_head.vlln.bias": None, "action_head.vlln.weight": None}),
        "foreign keys": lambda: edit_shard(shard, **{"action_head.lora_A.weight": torch.zeros(2)}),
        "wrong shape": lambda: edit_shard(shard, **{"action_head.vlln.bias": torch.zeros(65)}),
        "no eagle sizes": (folder / "eagle_config.json").unlink,
    }
    actions[kind]()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", r"truncated or not safetensors .*: copy it again"),
        ("empty shard", r"\(0 bytes\) is truncated"),
        ("pointer file", r"is a pointer of Git LFS, run `git lfs pull`"),
        ("missing shard", r"model-00001-of-00002.safetensors is missing, .*: copy all shards"),
        ("missing index", r"has neither model.safetensors.index.json nor model.safetensors: copy the weights"),
        ("index is no table", r"holds a list, not a table"),
        ("index without map", r"no table 'weight_map'"),
        ("bad json", r"config.json is not readable JSON"),
        ("bad eagle json", r"eagle_config.json is not readable JSON"),
        ("no config", r"has no config.json"),
        ("wrong model_type", r"model_type is 'gr00t_n1_6', not 'gr00t_n1_5'"),
        ("no head section", r"action_head_cfg is missing"),
        ("size is text", r"hidden_size is '32', not a size"),
        ("other network", r"use_vlln is False"),
        ("missing keys", r"lacks 2 weights of this network, such as action_head.vlln.bias, action_head.vlln.weight"),
        ("foreign keys", r"holds 1 weights that GR00T N1.5 does not have, such as action_head.lora_A.weight"),
        ("wrong shape", r"action_head.vlln.bias has shape \[65\], config says \[64\]"),
        ("no eagle sizes", r"backbone_embedding_dim is 64|heads x head_dim"),
    ],
)
def test_broken_checkpoint_is_one_clear_line(folder, kind, message):
    damage(folder, kind)
    with pytest.raises(CheckpointError, match=message) as caught:
        Gr00tN1d5.from_pretrained(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_missing_folder(tmp_path):
    for path in (tmp_path / "nowhere", str(tmp_path / "nowhere"), "./nowhere", "nowhere"):
        with pytest.raises(CheckpointError, match="no such folder"):
            Gr00tN1d5.from_pretrained(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file: give the folder"):
        Gr00tN1d5.from_pretrained(tmp_path / "file")


def test_hub_id_asks_the_hub_and_nothing_else_does(fixture_dir, monkeypatch):
    Gr00tN1d5.from_pretrained(fixture_dir)  # the hub is blocked by conftest
    with pytest.raises(CheckpointError, match=r"no such folder: org/name, and as a hub id .*no network in tests"):
        Gr00tN1d5.from_pretrained("org/name")
    asked = []

    def download(repo_id, allow_patterns):
        asked.append((repo_id, "*.safetensors" in allow_patterns))
        return str(fixture_dir)

    monkeypatch.setattr(checkpoint, "snapshot_download", download)
    Gr00tN1d5.from_pretrained("org/name")
    assert asked == [("org/name", True)]


def test_what_reads_no_weights_downloads_none(folder, tiny_config, monkeypatch):
    """A tokenizer, statistics, a network's sizes: not the gigabytes beside them."""
    for name, content in tokenizer_assets(tiny_tokenizer(tiny_config)).items():
        (folder / name).write_bytes(content)
    asked = []

    def download(repo_id, allow_patterns):
        asked.append([pattern for pattern in allow_patterns if "safetensors" in pattern])
        return str(folder)

    monkeypatch.setattr(checkpoint, "snapshot_download", download)
    load_tokenizer("org/name")
    statistics_of("org/name")
    without_weights("org/name", None, "sdpa")
    with blank_weights():
        load_base(Gr00tActorOptions.parse({"checkpoint": "org/name"}, "agent.actor"), None, None)
    assert len(asked) == 6 and not any(asked)
