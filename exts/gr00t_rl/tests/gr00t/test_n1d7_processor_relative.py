# SPDX-License-Identifier: BSD-3-Clause
"""Actions relative to the state: turns against closed forms, both ways, and what a user may declare."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gr00t_rl.gr00t.modality import ActionKey, Modality, StateKey, Statistics
from gr00t_rl.gr00t.n1d5.config import Gr00tN1d5Config
from gr00t_rl.gr00t.n1d5.processor import Gr00tN1d5Processor
from gr00t_rl.gr00t.n1d5.prompt import tiny_tokenizer
from gr00t_rl.gr00t.n1d7.relative import Relative, RelativeActions, from_rot6d, from_rotvec, to_rotvec

QUARTER = math.pi / 2
POSES: list[tuple[str | None, int]] = [(None, 4), ("xyz+rot6d", 9), ("xyz+rotvec", 6)]


def draw(pose: str | None, width: int, *shape: int) -> Tensor:
    """Joints, or poses whose rotations are written as the release would (orthonormal, at most half a turn)."""
    x = torch.randn(*shape, width, dtype=torch.float64)
    if pose == "xyz+rot6d":
        x[..., 3:] = from_rotvec(x[..., 3:6]).flatten(-2)[..., :6]
    if pose == "xyz+rotvec":
        axis = x[..., 3:] / x[..., 3:].norm(dim=-1, keepdim=True)
        x[..., 3:] = axis * 3.1 * torch.rand(*shape, 1, dtype=torch.float64)
    return x.float()


def keys(pose: str | None, width: int) -> tuple[RelativeActions, Modality]:
    """A key that is not relative between, so that columns shift; the state's key stands last in its order."""
    modality = Modality(
        "robot",
        {},
        {"other": StateKey("policy", 0, 2), "now": StateKey("policy", 2, 2 + width)},
        {"plain": ActionKey(0, 1), "moved": ActionKey(1, 1 + width, relative_to="now", pose=pose)},
    )
    return RelativeActions({"moved": Relative("now", pose)}, modality), modality


def test_rotation_vectors() -> None:
    around_z = from_rotvec(torch.tensor([[0.0, 0.0, QUARTER], [0.0, 0.0, 0.0], [0.0, math.pi, 0.0]]))
    expected = torch.tensor(
        [[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], torch.eye(3).tolist(), [[-1.0, 0, 0], [0, 1, 0], [0, 0, -1]]]
    )
    torch.testing.assert_close(around_z, expected, rtol=0, atol=1e-6)
    small = torch.tensor([1e-9, -2e-9, 0.0], dtype=torch.float64)
    torch.testing.assert_close(to_rotvec(from_rotvec(small)), small, rtol=1e-6, atol=1e-15)


def test_every_turn_comes_back() -> None:
    """Through the matrix and back, near no turn and half a turn too; more than half a turn comes back the short way."""
    axis = torch.nn.functional.normalize(torch.randn(500, 3, dtype=torch.float64), dim=-1)
    part = torch.rand(500, dtype=torch.float64)
    angle = torch.cat([part[:400] * math.pi, part[400:450] * 1e-6, math.pi - part[450:] * 1e-6])
    vector = axis * angle[:, None]
    torch.testing.assert_close(to_rotvec(from_rotvec(vector)), vector, rtol=0, atol=1e-8)
    long = axis * (math.pi + 1)
    torch.testing.assert_close(to_rotvec(from_rotvec(long)), -axis * (math.pi - 1), rtol=0, atol=1e-8)


def test_six_numbers_are_two_rows() -> None:
    """The second is made orthogonal to the first; lengths do not matter."""
    found = from_rot6d(torch.tensor([0.0, -2.0, 0.0, 3.0, 5.0, 0.0]))
    assert found.tolist() == [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


def test_a_pose_by_hand() -> None:
    """The hand looks along y (a quarter turn around z) at (1, 2, 3); what is 1 m before it is 1 m along its own x."""
    relative, _ = keys("xyz+rotvec", 6)
    state = torch.tensor([[9.0, 9.0, 1.0, 2.0, 3.0, 0.0, 0.0, QUARTER]])
    absolute = torch.tensor([[[7.0, 1.0, 3.0, 3.0, 0.0, 0.0, QUARTER]]])
    expected = torch.tensor([[[7.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]]])
    torch.testing.assert_close(relative.to_relative(absolute, state), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(relative.to_absolute(expected, state), absolute, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("pose", "width"), POSES)
@pytest.mark.parametrize("frames", [0, 3])
def test_both_ways(pose: str | None, width: int, frames: int) -> None:
    """Of several states the last is the present; other keys pass."""
    relative, _ = keys(pose, width)
    now = torch.cat([torch.randn(5, 2), draw(pose, width, 5)], dim=-1)
    state = torch.cat([torch.randn(5, frames - 1, 2 + width), now[:, None]], dim=1) if frames else now
    actions = torch.cat([torch.randn(5, 7, 1), draw(pose, width, 5, 7)], dim=-1)
    turned = relative.to_relative(actions, state)
    assert torch.equal(turned[..., 0], actions[..., 0]) and turned.dtype == torch.float32
    assert not torch.allclose(turned[..., 1:], actions[..., 1:], atol=0.1)
    torch.testing.assert_close(relative.to_absolute(turned, state), actions, rtol=0, atol=1e-6)
    still = torch.cat([actions[:, :1, :1], now[:, None, 2:]], dim=-1)
    nothing = torch.zeros(width) if pose != "xyz+rot6d" else torch.tensor([0.0, 0, 0, 1, 0, 0, 0, 1, 0])
    torch.testing.assert_close(relative.to_relative(still, state)[:, 0, 1:], nothing.expand(5, -1), rtol=0, atol=1e-6)


def test_no_turn_has_a_gradient() -> None:
    """At an angle of 0 too, and on both sides of where the quotient is replaced by its series."""
    for angle in (0.0, 1e-9, 1e-6, 1.1e-6, 1e-3):
        x = torch.tensor([angle, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
        turned = from_rotvec(x)
        assert turned[1, 2].item() == pytest.approx(-math.sin(angle), rel=1e-12, abs=0)
        (gradient,) = torch.autograd.grad(turned[2, 1], x)
        torch.testing.assert_close(
            gradient, torch.tensor([math.cos(angle), 0, 0], dtype=torch.float64), rtol=0, atol=1e-9
        )


@pytest.mark.parametrize(("pose", "width"), POSES)
def test_onnx(pose: str | None, width: int, tmp_path: Path) -> None:
    """A graph of the same numbers, whose arc tangents are of float32: onnxruntime has no other."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    relative, _ = keys(pose, width)

    class Turn(torch.nn.Module):
        def forward(self, actions: Tensor, state: Tensor) -> Tensor:
            return relative.to_absolute(actions, state)

    def inputs() -> tuple[Tensor, Tensor]:
        state = torch.cat([torch.randn(1, 2), draw(pose, width, 1)], dim=-1)
        return torch.cat([torch.randn(1, 7, 1), draw(pose, width, 1, 7)], dim=-1), state

    names, file = ["actions", "state"], str(tmp_path / "turn.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about sizes that stay as they are
        torch.onnx.export(Turn(), inputs(), file, input_names=names, opset_version=18, dynamo=False)
    graph = onnx.shape_inference.infer_shapes(onnx.load(file), strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    tangents = [types[node.input[0]] for node in graph.node if node.op_type == "Atan"]
    assert tangents == [onnx.TensorProto.FLOAT] * (pose == "xyz+rotvec")
    fresh = inputs()
    evaluator: Any = ReferenceEvaluator(file)
    found = evaluator.run(None, {n: x.numpy() for n, x in zip(names, fresh, strict=True)})[0]
    torch.testing.assert_close(torch.from_numpy(found), relative.to_absolute(*fresh), rtol=0, atol=1e-6)


def test_no_state() -> None:
    relative, _ = keys(None, 4)
    with pytest.raises(ValueError, match="actions moved are relative to the state: give the raw state too"):
        relative.to_absolute(torch.zeros(1, 2, 5), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"relative_to": "elbow"},
            "action.moved.relative_to is 'elbow'; set one of the state keys \\['other', 'now'\\]",
        ),
        ({"relative_to": None, "pose": "xyz+rotvec"}, "without relative_to"),
        ({"pose": "xyz"}, "action.moved.pose is 'xyz'; set one of xyz\\+rot6d, xyz\\+rotvec"),
        ({"pose": "xyz+rot6d"}, "action.moved is 6 wide .* set start and end to 9 columns each"),
        ({"relative_to": "other"}, "state.other, to which it is relative, 2"),
        ({"absolute": False}, "action.moved.absolute is False with relative_to"),
    ],
)
def test_wrong_declarations(changes: dict[str, Any], message: str) -> None:
    state = {"other": StateKey("policy", 0, 2), "now": StateKey("policy", 2, 8)}
    with pytest.raises(ValueError, match=message) as caught:
        Modality("robot", {}, state, {"moved": ActionKey(**{"start": 0, "end": 6, "relative_to": "now", **changes})})
    assert "\n" not in str(caught.value)


def test_other_generations_refuse_them() -> None:
    config = Gr00tN1d5Config.tiny()
    _, modality = keys(None, 4)
    table = {"min": torch.zeros(4), "max": torch.ones(4)}
    known = Statistics(
        {"other": {name: x[:2] for name, x in table.items()}, "now": table},
        {"plain": {name: x[:1] for name, x in table.items()}, "moved": table},
    )
    with pytest.raises(ValueError, match=r"is 'now', but GR00T N1\.5's actions are absolute"):
        Gr00tN1d5Processor(config, tiny_tokenizer(config), num_views=0, modality=modality, statistics=known)


def test_declaration_as_a_table() -> None:
    table = {
        "embodiment_tag": "robot",
        "video": {},
        "state": {"hand": {"group": "policy", "start": 0, "end": 9}},
        "action": {"hand": {"start": 0, "end": 9, "relative_to": "hand", "pose": "xyz+rot6d"}},
    }
    assert Modality.from_dict(table).action["hand"] == ActionKey(0, 9, relative_to="hand", pose="xyz+rot6d")
