# SPDX-License-Identifier: BSD-3-Clause
"""Open-loop evaluation: which frames are compared, with what, and the errors by hand."""

from __future__ import annotations

import json

import pytest
import torch

from gr00t_rl.cli import dataset as command
from gr00t_rl.cli.finetune import build_parser
from gr00t_rl.data import Demonstrations
from gr00t_rl.gr00t import ActionKey, Gr00tNetwork, Modality, PolicySettings, StateKey
from gr00t_rl.gr00t.checkpoint import SETTINGS_FILE
from gr00t_rl.sft import open_loop, program
from gr00t_rl.sft.arguments import complete_arguments
from gr00t_rl.sft.open_loop import Compared, as_text, errors_of
from gr00t_rl.utils.errors import ConfigurationError

TURNED = Modality(
    "robot", {}, {"s": StateKey("s", 0, 1)}, {"gripper": ActionKey(2, 3), "arm": ActionKey(0, 2, absolute=False)}
)


def test_errors_by_hand():
    recorded = torch.tensor([[0.0, 1.0, 5.0], [2.0, 1.0, 5.0]])
    predicted = recorded + torch.tensor([[1.0, -2.0, 0.0], [-3.0, 0.0, 0.0]])
    report = errors_of(Compared(torch.arange(2), recorded, predicted), TURNED)
    assert report["frames"] == 2 and report["mse"] == pytest.approx(14 / 6) and report["mae"] == pytest.approx(1.0)
    arm = report["action"]["arm"]
    assert arm["mse"] == pytest.approx(14 / 4) and arm["mae"] == pytest.approx(6 / 4)
    assert arm["dimensions"] == [{"mse": pytest.approx(5), "mae": 2.0}, {"mse": 2.0, "mae": 1.0}]
    assert arm["recorded_variance"] == [1.0, 0.0] and report["action"]["gripper"]["mse"] == 0.0
    text = as_text(report | {"episodes": 1, "execute": 2})
    assert "5.000" in text and text.count("constant") == 2


@pytest.mark.parametrize("modality", ["camera"], indirect=True)
def test_the_command_compares_a_checkpoint_with_its_data(dataset, modality, tmp_path, capsys):
    """A short training: every frame of the episodes is compared once, repeatably, with what was recorded."""
    root, out = dataset(3), tmp_path / "out"
    sizes = ["--image_size", "16", "--patch_size", "8", "--action_horizon", "4"]
    options = ["--dataset", str(root), "--checkpoint", "tiny", "--embodiment_tag", "robot", "--out", str(out), *sizes]
    args = build_parser().parse_args([*options, "--steps", "1", "--batch_size", "2", "--device", "cpu"])
    complete_arguments(args)
    program.run(args)
    call = ["evaluate", "--dataset", str(root), "--checkpoint", str(out), "--json", "--device", "cpu"]
    call += ["--episodes", "2"]
    capsys.readouterr()
    found = []
    for others in ([], [], ["--execute", "3", "--plot", str(tmp_path / "p.png")], ["--seed", "1"]):
        assert command.main([*call, *others]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1] and found[0]["frames"] == 16 and found[2]["frames"] == 16
    assert found[0]["execute"] == 4 and found[2]["mse"] != found[0]["mse"] != found[3]["mse"]
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    data = Demonstrations.load([root], episodes=2)
    variance = data.action[:, 2].double().var(correction=0).item()
    assert found[0]["action"]["gripper"]["recorded_variance"] == [pytest.approx(variance)]
    with pytest.raises(ConfigurationError, match="--execute is 5; set 1 to 4"):
        command.main([*call, "--execute", "5"])
    with pytest.raises(ConfigurationError, match="embodiment_tag is 'other', but the checkpoint's metadata has"):
        command.main([*call, "--embodiment_tag", "other", "--embodiment_id", "0"])
    with pytest.raises(ConfigurationError, match="--embodiment_id is 3, but the checkpoint says 0 for 'robot'; drop"):
        command.main([*call, "--embodiment_id", "3"])
    (out / SETTINGS_FILE).unlink()
    with pytest.raises(ConfigurationError, match=r"has no experiment_cfg/gr00t_rl.json, and nothing says .* --task"):
        command.main(call)
    assert "scaled by minimum and maximum" not in capsys.readouterr().err
    assert command.main([*call, "--embodiment_tag", "robot", "--embodiment_id", "0"]) == 0
    assert "no file of --checkpoint " in capsys.readouterr().err  # what an N1.5 folder of other programs does not say


@pytest.mark.parametrize("modality", ["camera"], indirect=True)
def test_a_network_that_knows_the_answer_makes_no_error(dataset, modality, monkeypatch):
    """Chunks that are the recorded ones come back in the env's units and order, cut at each episode's end."""
    data = Demonstrations.load([dataset(2)]).arranged(modality)

    class Head:
        asked: list = []

        def process_features(self, features, mask):
            return features

        def prepare(self, features, state, mask=None, kinds=None):
            return features[:, 0, 0].long()  # the frames

        def integrate(self, noise, frames, steps):
            assert steps == 7 and not noise.any()  # as the settings say
            self.asked.append(frames)
            return data.chunks(frames, 5)

    class Samples:
        device, task, state = torch.device("cpu"), data.task, torch.zeros(len(data), 1, 2)

        class processor:
            kinds = None
            token_mask = staticmethod(lambda rows: None)
            prompt = staticmethod(lambda rows: rows)
            action = staticmethod(lambda chunk, dim, state: chunk)

        @staticmethod
        def in_turn(frames, count):
            return frames.split(count)

        @staticmethod
        def pixels(rows):
            return rows[:, None, None].float()

    class Model:
        decide, dtype = Gr00tNetwork.decide, torch.float32
        action_head = Head()
        backbone = torch.nn.Linear(1, 1)
        encode = staticmethod(lambda pixels, prompt: pixels)

        class config:
            class action_head:
                action_horizon, action_dim, num_inference_timesteps = 5, 3, 4

    settings = PolicySettings(modality, 0, num_inference_timesteps=7, init_noise_scale=0.0)
    found = open_loop.compare(Model(), Samples(), data, modality, 5, settings=settings)  # pyright: ignore
    assert torch.cat(Head.asked).tolist() == [0, 5, 8, 13]  # episodes of eight frames
    assert found.frames.tolist() == list(range(16))
    assert torch.equal(found.predicted, data.action) and torch.equal(found.recorded, data.action)
