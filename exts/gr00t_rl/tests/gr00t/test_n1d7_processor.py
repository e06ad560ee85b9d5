# SPDX-License-Identifier: BSD-3-Clause
"""N1.7's processor as a whole: prompts, pictures, states and actions of a tiny network, on one device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fake_gpu import CUDA, fake_gpu, to_fake_gpu
from torch import Tensor

from gr00t_rl.gr00t import CheckpointError
from gr00t_rl.gr00t.modality import ActionKey, Modality, StateKey, Statistics
from gr00t_rl.gr00t.n1d7.config import Gr00tN1d7Config
from gr00t_rl.gr00t.n1d7.model import Gr00tN1d7
from gr00t_rl.gr00t.n1d7.processor import Gr00tN1d7Processor
from gr00t_rl.gr00t.n1d7.prompt import tiny_tokenizer
from gr00t_rl.gr00t.normalise import STATISTICS
from gr00t_rl.utils.allocations import LiveBytes

CONFIG = Gr00tN1d7Config.tiny()
TOKENIZER = tiny_tokenizer(CONFIG)
SIZES = [(64, 64), (48, 80)]
PICTURE = "<|vision_start|>" + "<|image_pad|>" * 16 + "<|vision_end|>"


def make(instruction: Any = "Lift the cube.", **options: Any) -> Gr00tN1d7Processor:
    options = {"num_views": 2, "image_sizes": SIZES, **options}
    return Gr00tN1d7Processor(CONFIG, TOKENIZER, instruction, **options)


def noise(n: int) -> list[Tensor]:
    return [torch.randint(0, 256, (n, *size, 3), dtype=torch.uint8) for size in SIZES]


def test_prompt_text() -> None:
    """One user turn, pictures first; formal where the checkpoint was trained so, as N1.7's are."""
    text = "<|im_start|>user\n" + PICTURE * 2 + "lift the cube<|im_end|>\n"
    assert make().prompt_texts == [text]
    as_it_is = make(formalize_language=False, num_views=0, image_sizes=None).prompt_texts
    assert as_it_is == ["<|im_start|>user\nLift the cube.<|im_end|>\n"]


def test_prompt_tokens() -> None:
    processor = make(["lift the cube", "push the red cube to the green target"])
    prompt = processor.prompt(torch.tensor([1, 0, 1]))
    assert prompt.grids == ((1, 8, 8), (1, 8, 8))  # 48 x 80 became 64 x 64, as the network's pictures are
    assert prompt.position_ids is not None and prompt.position_ids.shape == (3, 3, processor.prompt_length)
    mask = processor.token_mask(torch.tensor([1, 0, 1]))
    assert mask is not None and mask[0].all() and not mask[1].all()
    assert TOKENIZER.decode(prompt.input_ids[1][mask[1]]) == processor.prompt_texts[0]
    assert (prompt.input_ids == CONFIG.image_token_index).sum(1).tolist() == [32, 32, 32]
    kinds = processor.kinds
    assert kinds is not None and len(kinds.image) == 32


def test_an_instruction_that_names_a_picture() -> None:
    with pytest.raises(ValueError, match="remove <\\|image_pad\\|> from it"):
        make("see <|image_pad|>", formalize_language=False)


def test_other_tokenizers() -> None:
    other = tiny_tokenizer(Gr00tN1d7Config.tiny(image_token_index=500))
    with pytest.raises(CheckpointError, match="id of <\\|image_pad\\|> is 500, the model's is 511"):
        Gr00tN1d7Processor(CONFIG, other, image_sizes=SIZES[:1])
    no_pictures = tiny_tokenizer(CONFIG)
    no_pictures.chat_template = "{% for message in messages %}{{ message['role'] }}{% endfor %}"
    with pytest.raises(CheckpointError, match=r"writes 0 <\|image_pad\|> for 1 pictures"):
        Gr00tN1d7Processor(CONFIG, no_pictures, image_sizes=SIZES[:1])


@pytest.mark.parametrize("views", [0, 1])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" + t, "begins with '<.im_start.>sys"),
        (lambda t: t.replace("+ '\\n'", ""), "begins with '<.im_start.>user"),
        (lambda t: t.replace("{{ '<|im_end|>\\n' }}", ""), "ends with "),
        (lambda t: t + "Now:", "ends with "),
    ],
)
def test_other_templates(change: Callable[[str], str], message: str, views: int) -> None:
    """Of Qwen2-VL and Qwen2.5-VL the picture's id is the same, and a system turn comes first."""
    other = tiny_tokenizer(CONFIG)
    assert isinstance(other.chat_template, str)
    other.chat_template = change(other.chat_template)
    assert other.chat_template != TOKENIZER.chat_template
    with pytest.raises(CheckpointError, match=f"{message}.* use the tokenizer of Qwen3-VL-2B") as caught:
        Gr00tN1d7Processor(CONFIG, other, num_views=views, image_sizes=SIZES[:views])
    assert "\n" not in str(caught.value)


def test_pictures_of_the_networks_size_stay() -> None:
    """Sample-major, view after view; the first view is as it came."""
    views = noise(3)
    found = make().images(views).view(3, 2, 64, -1)
    square = views[0].view(3, 4, 2, 8, 4, 2, 8, 3).permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(3, 64, 3, 64)
    expected = square[..., None, :].expand(3, 64, 3, 2, 64).flatten(2).float() / 127.5 - 1
    torch.testing.assert_close(found[:, 0], expected)
    again = make().images([view[1:2] for view in views]).view(2, 64, -1)
    assert torch.equal(found[1], again)


@pytest.mark.parametrize("views", [1, 2])
def test_pictures_take_little_more_than_what_comes_out(views: int) -> None:
    """8 bits and one frame of four, of which one picture is the last step's result and one is joined."""
    processor = make(num_views=views, image_sizes=[(64, 64)] * views)
    images = noise(8)[:1] * views
    with LiveBytes() as memory:
        found = processor.images(images)
    assert memory.peak <= found.nbytes * (1 + 2 / 8)
    assert found.shape == (8 * views * 64, 384)


def test_pictures_that_do_not_fit() -> None:
    processor = make()
    with pytest.raises(ValueError, match="image is 32x32 pixels, the prompt was made for 64x64, 48x80"):
        processor.images([torch.zeros(1, 32, 32, 3, dtype=torch.uint8), noise(1)[1]])
    with pytest.raises(ValueError, match=r"image_sizes has 1 entries: give .* each of 2 views"):
        make(image_sizes=SIZES[:1])


def test_the_modality_must_not_crop_too() -> None:
    modality = Modality(
        "robot",
        {"front": "front", "wrist": "wrist"},
        {"arm": StateKey("policy", 0, 2, None)},
        {"arm": ActionKey(0, 2, None)},
        video_crop=0.95,
    )
    with pytest.raises(ValueError, match=r"video_crop is 0\.95, but GR00T N1\.7's processor_config"):
        make(modality=modality)
    with pytest.raises(ValueError, match="leave it out"):
        Gr00tN1d7Processor.read_statistics({}, modality)


def test_each_picture_reaches_its_own_tokens() -> None:
    """Changing sample 1's second view moves features of sample 1 from that view's tokens on, and nothing else."""
    network, processor, views = Gr00tN1d7.from_config(CONFIG, seed=0), make(), noise(2)
    with torch.no_grad():
        before = network.encode(processor.images(views), processor.prompt(2))
        views[1][1] = 255 - views[1][1]
        after = network.encode(processor.images(views), processor.prompt(2))
    moved = (before - after).abs().amax(dim=-1) > 1e-5  # [B, T]
    second_view = int((processor.prompt(1).input_ids[0] == CONFIG.image_token_index).nonzero()[16])
    assert not moved[0].any() and not moved[1, :second_view].any() and moved[1, second_view:].all()


# -- state and action --------------------------------------------------------------------------------------------------


def robot(pose: bool = True) -> Modality:
    hand = {"hand": StateKey("policy", 3, 12)} if pose else {}
    state = {"yaw": StateKey("policy", 12, 13, None, sin_cos=True), "arm": StateKey("policy", 0, 3), **hand}
    moved = {"hand": ActionKey(4, 13, relative_to="hand", pose="xyz+rot6d")} if pose else {}
    return Modality("robot", {}, state, {"arm": ActionKey(1, 4, relative_to="arm"), "grip": ActionKey(0, 1), **moved})


def statistics(modality: Modality, steps: int = 0) -> Statistics:
    def of(*shape: int) -> dict[str, Tensor]:
        wide = 5 + torch.rand(shape)
        values = {"min": -wide, "max": wide, "mean": wide / 9, "std": wide / 3, "q01": -wide / 2, "q99": wide / 2}
        return {name: values[name] for name in STATISTICS}

    relative = {n: of(steps, k.dim) if steps else of(k.dim) for n, k in modality.action.items() if k.relative_to}
    states = {name: of(key.dim) for name, key in modality.state.items()}
    return Statistics(states, {name: of(key.dim) for name, key in modality.action.items()}, relative)


def poses(*shape: int) -> Tensor:
    """Places and two orthonormal rows."""
    matrix = torch.linalg.qr(torch.randn(*shape, 3, 3)).Q
    return torch.cat([torch.randn(*shape, 3), matrix[..., :2, :].flatten(-2)], dim=-1)


@pytest.mark.parametrize("steps", [0, 16])
def test_actions_there_and_back(steps: int) -> None:
    """The env's order of the action is not the keys', and two keys are relative to the state."""
    modality = robot()
    processor = make(num_views=0, image_sizes=None, modality=modality, statistics=statistics(modality, steps))
    state = torch.cat([torch.randn(5, 4), poses(5)], dim=-1)  # yaw, arm, hand
    actions = torch.cat([torch.rand(5, 16, 1), state[:, None, 1:4] + torch.randn(5, 16, 3), poses(5, 16)], dim=-1)
    padded = processor.pad_action(actions, state)
    assert padded.shape == (5, 16, 32) and padded.abs().max() < 1 and not padded[..., 13:].any()
    torch.testing.assert_close(processor.action(padded, 13, state), actions, rtol=0, atol=2e-6)
    first = processor.action(padded[:, :3], 13, state)  # an env that is given the first steps alone
    torch.testing.assert_close(first, actions[:, :3], rtol=0, atol=2e-6)
    with pytest.raises(ValueError, match="give the raw state too"):
        processor.action(padded, 13)
    with pytest.raises(ValueError, match="action has 12 dimensions, the modality 13"):
        processor.pad_action(actions[..., 1:], state)


def test_what_a_relative_action_adds_up_to() -> None:
    """Joints by hand: statistics of -2 to 2, the state at 3, and the network's 0.5 is 1 more than that."""
    modality = Modality("robot", {}, {"arm": StateKey("policy", 0, 1)}, {"arm": ActionKey(0, 1, relative_to="arm")})
    ends = {"min": torch.tensor([-2.0]), "max": torch.tensor([2.0]), "q01": torch.tensor([-9.0])}
    known = Statistics({"arm": ends}, {}, {"arm": ends})
    processor = make(num_views=0, image_sizes=None, modality=modality, statistics=known)
    chunk = torch.zeros(1, 16, 32)
    chunk[..., 0] = 0.5
    assert processor.action(chunk, 1, torch.tensor([[3.0]]))[0, :, 0].tolist() == [4.0] * 16


def test_relative_chunks_are_what_the_statistics_are_of() -> None:
    modality = robot(pose=False)
    state, chunks = torch.randn(5, 4), torch.randn(5, 16, 4)
    found = Gr00tN1d7Processor.relative_chunks({}, modality, chunks, state)
    assert list(found) == ["arm"]
    torch.testing.assert_close(found["arm"], chunks[..., 1:] - state[:, None, 1:4])


def test_states() -> None:
    modality = robot(pose=False)
    known = statistics(modality)
    processor = make(num_views=0, image_sizes=None, modality=modality, statistics=known)
    x = torch.tensor([[0.5, 100.0, 0.0, -1.0]])
    low, high = known.state["arm"]["min"], known.state["arm"]["max"]
    middle = 2 * (torch.tensor([0.0, -1.0]) - low[1:]) / (high - low)[1:] - 1
    expected = torch.cat([x[0, :1].sin(), x[0, :1].cos(), torch.ones(1), middle])
    found = processor.state(x)
    assert found.shape == (1, 1, 64) and not found[..., 5:].any()
    torch.testing.assert_close(found[0, 0, :5], expected)
    with pytest.raises(ValueError, match="state is \\[1, 2, 4\\], but the network takes the last 1 states"):
        processor.state(x.expand(1, 2, 4))
    with pytest.raises(ValueError, match="state has 3 dimensions, the modality 4"):
        processor.state(x[:, 1:])


def test_states_of_the_past() -> None:
    config = Gr00tN1d7Config.tiny(state_history_length=3)
    processor = Gr00tN1d7Processor(config, tiny_tokenizer(config), num_views=0)
    x = torch.randn(4, 3, 7)
    assert torch.equal(processor.state(x)[..., :7], x) and processor.state(x).shape == (4, 3, 64)
    with pytest.raises(ValueError, match="takes the last 3 states \\(state_history_length\\): give \\[N, 3, S\\]"):
        processor.state(x[:, 0])


def test_nothing_waits_for_the_device() -> None:
    """Prompts, pictures of both kinds, states and actions on a fake GPU: no number is read by the host."""
    modality = robot()
    processor = make(["lift", "push the cube"], modality=None)
    mover = make(num_views=0, image_sizes=None, modality=modality, statistics=statistics(modality, 16))
    with fake_gpu({}) as syncs:
        to_fake_gpu(processor, syncs)
        to_fake_gpu(mover, syncs)
        rows = torch.zeros(3, dtype=torch.long, device=CUDA)
        prompt = processor.prompt(rows)
        assert prompt.input_ids.device == CUDA and processor.token_mask(rows) is not None
        views = [torch.zeros(3, *size, 3, dtype=torch.uint8, device=CUDA) for size in SIZES]
        assert processor.images(views).device == CUDA
        state = torch.zeros(3, 13, device=CUDA)
        assert mover.state(state).device == CUDA
        chunk = mover.pad_action(torch.zeros(3, 16, 13, device=CUDA), state)
        assert mover.action(chunk, 13, state).device == CUDA
        assert syncs.take() == {}
