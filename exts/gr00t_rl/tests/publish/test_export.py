# SPDX-License-Identifier: BSD-3-Clause
"""A run becomes a folder that says what it is, that can be served, and that can be put on the hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from serving_helpers import SIDE, STEPS, TEXTS, make_actor, write_case, write_run

from gr00t_rl import cli
from gr00t_rl.gr00t import PolicySettings, from_pretrained
from gr00t_rl.publish.card import Facts, front_matter, model_card
from gr00t_rl.publish.success import success_of
from gr00t_rl.serving.loading import Choices, load_policy
from gr00t_rl.utils.errors import ConfigurationError

LORA = {"train": {"dit": "lora", "projectors": "full"}, "lora_rank": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run with evaluations of it, of its base, and of others."""
    root = tmp_path_factory.mktemp("runs")
    case = write_case("n1.7", root / "base")
    file = write_run(case, make_actor(case, **LORA), root / "run", **LORA)
    (file.parent / "run.json").write_text(json.dumps({"task": "Gr00t-Push-Cube-Franka-Camera"}))
    write_result(file.parent, "base", "base", 2, 8)
    write_result(file.parent, "model_7_noise1_seed0", "logs/run/model_7.pt", 6, 8)
    write_result(file.parent, "model_3_noise1_seed0", "logs/run/model_3.pt", 8, 8)
    write_result(file.parent, "base_of_another", "base", 8, 8, "agent.actor.checkpoint=/data/another")
    write_result(file.parent, "elsewhere", "logs/another/model_7.pt", 8, 8)
    (file.parent / "evaluation" / "broken").mkdir()
    (file.parent / "evaluation" / "broken" / "result.json").write_text("{")
    return file.parent


def write_result(folder: Path, name: str, checkpoint: str, successes: int, episodes: int, *overrides: str) -> None:
    from gr00t_rl.utils.intervals import wilson_interval

    result = {"success_rate": successes / episodes, "success_ci95": wilson_interval(successes, episodes)}
    result |= {"num_episodes": episodes, "mean_return": 0.0, "mean_length": 1.0, "checkpoint": checkpoint}
    result |= {"seed": 1, "init_noise_scale": 1.0, "overrides": ["env.rewards=sparse", *overrides]}
    path = folder / "evaluation" / name / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(result))


def export(run: Path, out: Path, *options: str) -> Path:
    assert cli.main(["export", "--checkpoint", str(run), "--out", str(out), "--dtype", "float32", *options]) == 0
    return out


def test_an_exported_folder_can_be_served_and_says_what_it_is(run, tmp_path, capsys):
    """Settings and card are in it; the served policy is the run's."""
    out = export(run, tmp_path / "lifted")
    policy, of_run = (load_policy(*which, Choices()) for which in ((None, str(out)), (run / "model_7.pt", None)))
    assert policy.settings == of_run.settings
    assert (policy.settings.n_action_steps, policy.settings.image_sizes) == (STEPS, {"front": (SIDE, SIDE)})
    for (name, a), b in zip(policy.network.named_parameters(), of_run.network.parameters(), strict=True):
        assert torch.equal(a, b), name
    card = (out / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front)["pipeline_tag"] == "robotics"
    assert "# lifted\n" in text and "`Gr00t-Push-Cube-Franka-Camera`" in text and f"- {TEXTS[0]}" in text
    # by hand: Wilson's intervals of 2 and 6 of 8
    assert "| base weights | 25.0 % [7.1, 59.1] | 8 episodes, seed 1, initial noise 1, `env.rewards=sparse` |" in text
    assert "| this policy | 75.0 % [40.9, 92.9] |" in text
    assert "100.0 %" not in text, "results of other checkpoints"
    assert f"| `video.front` | RGB picture, 8 bits, {SIDE} × {SIDE} | |" in text
    assert "dit: lora, projectors: full (rank 2, alpha 16, merged)" in text and "NVIDIA's own licence" in text
    assert "base_model" not in front and str(run.parent) not in card, "a path of this machine"
    assert "README.md says what it is" in capsys.readouterr().out


def test_the_card_does_not_travel_to_other_weights(run, tmp_path):
    """The settings do: they speak of the embodiment."""
    from_pretrained(export(run, tmp_path / "lifted")).save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again" / "README.md").exists()
    assert (tmp_path / "again" / "experiment_cfg" / "gr00t_rl.json").is_file()


@pytest.mark.parametrize("own", [False, True])
def test_other_weights_in_its_folder_remove_the_card(run, tmp_path, own):
    """`gr00t-rl finetune --out` names a folder that was exported; what the user wrote there stays."""
    folder = export(run, tmp_path / "lifted")
    if own:
        (folder / "README.md").write_text("# Mine\n\nlibrary_name: gr00t_rl is how the export begins\n")
    from_pretrained(folder).save_pretrained(folder)
    assert (folder / "README.md").exists() == own


def test_settings_are_read_as_they_were_written(run, tmp_path):
    written = (export(run, tmp_path / "lifted") / "experiment_cfg" / "gr00t_rl.json").read_bytes()
    settings = PolicySettings.from_dict(json.loads(written))
    assert settings.to_bytes() == written
    assert settings.modality.action["arm"].relative_to == "arm" and settings.control_hz == 20.0


# -- the card ---------------------------------------------------------------------------------------------------------


def facts(**changes) -> Facts:
    known = {"name": "x", "generation": "n1.5", "parameters": 1, "dtype": "bfloat16", "base": "org/name"}
    known |= {"base_on_hub": True}
    return Facts(**{**known, "fingerprint": "f" * 64, "task": None, "settings": None, **changes})


def test_the_hub_is_told_a_base_that_it_knows():
    """Folders are none, and it refuses them."""
    assert front_matter(facts())["base_model"] == "org/name"
    assert "base_model" not in front_matter(facts(base_on_hub=False))
    assert yaml.safe_load(model_card(facts()).split("---")[1])["license"] == "other"


def test_a_card_says_what_is_not_known():
    """Nothing is evaluated, the run has no modality: no table of keys, and no promise that it can be served."""
    text = model_card(facts())
    assert "Not evaluated." in text and "## Input" not in text and "gr00t-rl serve" not in text


def test_the_run_s_own_evaluation_counts_for_its_own_weights(tmp_path):
    best = {"iteration": 7, "episodes": 8, "successes": 6, "mean_return": 1.0}
    content = {"iter": 7, "algorithm_state_dict": {"best": best}}
    (row,) = success_of(tmp_path / "model_7.pt", content, "tiny")
    assert row.text == "75.0 % [40.9, 92.9]" and "flatters" in row.how
    assert success_of(tmp_path / "model_8.pt", content | {"iter": 8}, "tiny") == []
    assert success_of(tmp_path / "model_7.pt", {"iter": 7, "algorithm_state_dict": {"best": None}}, "tiny") == []
    unknown = {"iter": 7, "algorithm_state_dict": {"best": best | {"successes": None}}}
    assert success_of(tmp_path / "model_7.pt", unknown, "tiny") == []


# -- the hub ----------------------------------------------------------------------------------------------------------


class Hub:
    """Stands for the hub's client; fails where it is told to."""

    calls: list[tuple[str, dict]]
    fails: str | None = None

    def __init__(self, **_: object) -> None: ...

    def create_repo(self, name: str, **options: object) -> str:
        return self._do("create", name=name, **options)

    def upload_folder(self, **options: object) -> str:
        return self._do("upload", **options)

    def _do(self, what: str, **options: object) -> str:
        if what == self.fails:
            raise OSError("no route\nto the hub")
        self.calls.append((what, options))
        return "hub/org/name"


@pytest.fixture
def hub_of(monkeypatch):
    """Put a hub of our own in the place of the real one."""
    import huggingface_hub

    def make(token: str | None = "t", fails: str | None = None) -> list[tuple[str, dict]]:
        calls: list[tuple[str, dict]] = []
        monkeypatch.setattr(huggingface_hub, "HfApi", type("Fake", (Hub,), {"calls": calls, "fails": fails}))
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: token)
        return calls

    return make


def test_a_new_model_on_the_hub_is_private(run, tmp_path, hub_of, capsys):
    calls = hub_of()
    out = export(run, tmp_path / "out", "--push-to-hub", "org/name")
    assert calls[0] == ("create", {"name": "org/name", "private": True, "exist_ok": True})
    assert calls[1][1]["repo_id"] == "org/name" and calls[1][1]["folder_path"] == out
    assert "hub/org/name" in capsys.readouterr().out


@pytest.mark.parametrize("fails", ["create", "upload"])
def test_where_the_hub_fails_the_folder_stays(run, tmp_path, hub_of, fails):
    hub_of(fails=fails)
    with pytest.raises(
        ConfigurationError, match=r"--push-to-hub org/name: no route; .* is whole, so that `hf"
    ) as error:
        export(run, tmp_path / "out", "--push-to-hub", "org/name")
    assert "\n" not in str(error.value)
    assert load_policy(None, str(tmp_path / "out"), Choices()).settings.embodiment_id == 0


@pytest.mark.parametrize(
    ("target", "token", "message"),
    [("name", "t", "set ORG/NAME"), ("a/b/c", "t", "set ORG/NAME"), ("org/name", None, "needs a token")],
)
def test_the_hub_is_checked_before_anything_is_read(run, tmp_path, hub_of, target, token, message):
    calls = hub_of(token)
    with pytest.raises(ConfigurationError, match=message):
        export(run, tmp_path / "out", "--push-to-hub", target)
    assert not (tmp_path / "out").exists() and not calls
