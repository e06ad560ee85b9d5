# SPDX-License-Identifier: BSD-3-Clause
"""The film of a policy before and after RL: what is shown of which env, and for how long."""

import numpy as np
import torch
from film_before_after import EVERY, FRAME, GREEN, RED, TITLE, WHITE, Shots, framed, halves, stacked


def make_film(lengths: list[int], steps: int, outcomes: list[bool]) -> Shots:
    """Each env's picture shows the number of the env step; its episodes take ``lengths``, over and over."""
    now = [0]
    film = Shots(lambda: np.full((len(lengths), 4, 4, 3), now[0], dtype=np.uint8), lambda: torch.tensor(outcomes))
    for step in range(1, steps + 1):
        now[0] = step
        film.step(torch.tensor([step % length == 0 for length in lengths]))
    return film


def test_first_episodes_only_and_their_last_pictures_stay() -> None:
    film = make_film([5, 8, 20], 20, [True, False, True])
    shown = np.stack(film.frames)[:, :, 0, 0, 0].T.tolist()
    steps = list(range(0, 21, EVERY))
    assert shown[0] == [min(step, 4) for step in steps]  # step 5 is the next episode's
    assert shown[1] == [min(step, 6) for step in steps]
    assert shown[2] == [min(step, 18) for step in steps]
    ended = np.stack(film.outcomes).T.tolist()
    assert ended[0] == [-1 if step < 5 - 1 else 1 for step in steps]
    assert ended[1] == [-1 if step < 8 else 0 for step in steps]
    assert ended[2] == [-1] * 10 + [1]


def test_frames_say_how_episodes_ended() -> None:
    pictures = np.zeros((3, 10, 10, 3), dtype=np.uint8)
    grid = framed(pictures, np.array([-1, 1, 0]), columns=2)
    assert grid.size == (2 * (10 + 2 * FRAME), 2 * (10 + 2 * FRAME))
    corners = [grid.getpixel((x, y)) for x, y in ((0, 0), (10 + 2 * FRAME, 0), (0, 10 + 2 * FRAME))]
    assert corners == [WHITE, GREEN, RED]


def test_a_film_that_is_over_waits_for_the_other() -> None:
    short, long = make_film([4], 4, [True]), make_film([12], 12, [False])
    films = [{"frames": np.stack(f.frames), "outcomes": np.stack(f.outcomes)} for f in (short, long)]
    row = halves(("before", "after"), (films[0], films[1]), columns=1)
    assert len(row) == len(long.frames)
    assert row[-1].getpixel((0, TITLE)) == GREEN
    both = stacked([row, row[:2]])
    assert len(both) == len(row) and both[0].height == 2 * row[0].height
