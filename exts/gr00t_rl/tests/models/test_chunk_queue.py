# SPDX-License-Identifier: BSD-3-Clause
"""Open-loop chunks, one action per env step, by hand."""

from __future__ import annotations

import pytest
import torch
from fake_gpu import CUDA, fake_gpu

from gr00t_rl.models import ChunkQueue


def chunks(*first: float) -> torch.Tensor:
    """Chunks [len(first), 3, 1] that count up from the given numbers."""
    return (torch.tensor(first)[:, None] + torch.arange(3.0)).unsqueeze(-1)


def test_plays_chunks_in_order_and_asks_for_the_next():
    queue = ChunkQueue(2, 3, 1, "cpu")
    assert len(queue) == 2
    assert queue.due_ids().tolist() == [0, 1]
    queue.push(queue.due_ids(), chunks(10.0, 20.0))
    played = [queue.pop().squeeze(1).tolist() for _ in range(3)]
    assert played == [[10.0, 20.0], [11.0, 21.0], [12.0, 22.0]]
    assert queue.due.tolist() == [True, True]


def test_reset_in_the_middle_of_a_chunk_replans_that_env_only():
    queue = ChunkQueue(3, 3, 1, "cpu")
    queue.push(torch.arange(3), chunks(10.0, 20.0, 30.0))
    queue.pop()
    queue.clear(torch.tensor([0, 1, 0]))
    assert queue.due_ids().tolist() == [1]
    queue.push(torch.tensor([1]), chunks(50.0))
    assert queue.pop().squeeze(1).tolist() == [11.0, 50.0, 31.0]
    assert queue.pop().squeeze(1).tolist() == [12.0, 51.0, 32.0]
    assert queue.due_ids().tolist() == [0, 2]
    queue.push(torch.tensor([0, 2]), chunks(60.0, 70.0))
    assert queue.pop().squeeze(1).tolist() == [60.0, 52.0, 70.0]


@pytest.mark.parametrize("dtype", [torch.bool, torch.long, torch.float])
def test_clear_takes_dones_of_any_type(dtype):
    queue = ChunkQueue(2, 3, 1, "cpu")
    queue.push(torch.arange(2), chunks(0.0, 0.0))
    queue.clear(torch.tensor([1, 0]).to(dtype))
    assert queue.due.tolist() == [True, False]


def test_clear_without_dones_drops_all_chunks():
    queue = ChunkQueue(2, 3, 1, "cpu")
    queue.push(torch.arange(2), chunks(0.0, 0.0))
    queue.clear()
    assert queue.due_ids().tolist() == [0, 1]


def test_pop_of_a_used_up_chunk_fails():
    """An action of the wrong chunk would be worse than an error."""
    queue = ChunkQueue(2, 3, 1, "cpu")
    queue.push(torch.tensor([0]), chunks(0.0))
    with pytest.raises(IndexError):
        queue.pop()


def test_resting_envs_act_with_zeros_and_never_decide():
    """Until all are cleared; clearing single envs does not wake them."""
    queue = ChunkQueue(num_envs=3, length=2, action_dim=1, device="cpu")
    queue.push(queue.due_ids(), torch.arange(1.0, 7.0).view(3, 2, 1))
    queue.rest(torch.tensor([False, True, False]))
    assert [queue.pop().flatten().tolist() for _ in range(2)] == [[1.0, 0.0, 5.0], [2.0, 0.0, 6.0]]
    assert queue.due_ids().tolist() == [0, 2]
    queue.clear(torch.tensor([False, True, False]))
    assert queue.due_ids().tolist() == [0, 2]
    queue.push(queue.due_ids(), torch.ones(2, 2, 1))
    for _ in range(2):
        assert queue.pop()[1] == 0.0  # long past the end of its chunk
    queue.clear()
    assert queue.due_ids().tolist() == [0, 1, 2]


def test_aligned_envs_decide_together():
    """One that is reset acts with zeros until the others' chunks are used up; a cleared queue begins anew."""
    queue = ChunkQueue(num_envs=2, length=3, action_dim=1, device="cpu", aligned=True)
    queue.push(queue.due_ids(), chunks(10.0, 20.0))
    assert queue.pop().squeeze(1).tolist() == [10.0, 20.0]
    queue.clear(torch.tensor([1, 0]))
    assert not queue.due.any()
    assert [queue.pop().squeeze(1).tolist() for _ in range(2)] == [[0.0, 21.0], [0.0, 22.0]]
    assert queue.due.all()
    queue.push(queue.due_ids(), chunks(30.0, 40.0))
    assert queue.pop().squeeze(1).tolist() == [30.0, 40.0]
    queue.clear()
    assert queue.due.all()


def test_env_that_waits_keeps_the_action_that_it_began_to_wait_with():
    """Not the newest one: an arm that is told to be where it is sags with its load. Others play on."""
    queue = ChunkQueue(num_envs=2, length=4, action_dim=1, device="cpu", aligned=True)
    queue.push(queue.due_ids(), torch.arange(8.0).view(2, 4, 1))
    hold = torch.tensor([[50.0], [60.0]])
    assert queue.pop(hold).flatten().tolist() == [0.0, 4.0]
    queue.clear(torch.tensor([1, 0]))
    assert [queue.pop(hold + i).flatten().tolist() for i in range(2)] == [[50.0, 5.0], [50.0, 6.0]]
    queue.clear(torch.tensor([1, 0]))  # reset again: it is somewhere else
    assert queue.pop(hold + 5).flatten().tolist() == [55.0, 7.0]
    queue.push(queue.due_ids(), torch.ones(2, 4, 1))
    queue.clear(torch.tensor([0, 1]))
    queue.clear()
    queue.push(queue.due_ids(), torch.ones(2, 4, 1))
    assert queue.pop(hold).flatten().tolist() == [1.0, 1.0], "a decision ends the waiting"


def test_resting_env_keeps_its_action_until_it_is_reset():
    queue = ChunkQueue(num_envs=2, length=2, action_dim=1, device="cpu")
    queue.push(queue.due_ids(), torch.arange(1.0, 5.0).view(2, 2, 1))
    resting, hold = torch.tensor([False, True]), torch.tensor([[50.0], [60.0]])
    queue.rest(resting)
    assert queue.pop(hold).flatten().tolist() == [1.0, 60.0]
    queue.rest(resting)
    assert queue.pop(hold + 1).flatten().tolist() == [2.0, 60.0]
    queue.clear(resting)
    queue.push(queue.due_ids(), torch.ones(1, 2, 1))
    assert queue.pop(hold + 2).flatten().tolist() == [1.0, 62.0]


def test_nobody_waits_for_a_gpu_to_hold_still():
    with fake_gpu({}) as syncs:
        queue = ChunkQueue(num_envs=2, length=3, action_dim=1, device=CUDA, aligned=True)
        queue.clear(torch.ones(2, dtype=torch.bool, device=CUDA))
        queue.rest(torch.ones(2, dtype=torch.bool, device=CUDA))
        assert queue.pop(torch.zeros(2, 1, device=CUDA)).device == CUDA
        assert syncs.take() == {}


def test_aligned_env_reset_at_the_end_of_a_chunk_waits_for_nobody():
    queue = ChunkQueue(num_envs=2, length=1, action_dim=1, device="cpu", aligned=True)
    queue.push(queue.due_ids(), torch.ones(2, 1, 1))
    queue.pop()
    queue.clear(torch.tensor([1, 0]))
    assert queue.due.all()
    queue.push(queue.due_ids(), torch.ones(2, 1, 1))
    assert queue.pop(torch.full((2, 1), 7.0)).flatten().tolist() == [1.0, 1.0]
