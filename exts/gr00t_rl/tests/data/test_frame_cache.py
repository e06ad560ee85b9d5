# SPDX-License-Identifier: BSD-3-Clause
"""Pictures that are larger than memory: the same bits, in bounded memory, each decoded once per pass."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch

from gr00t_rl.data import Demonstrations, Layout, Slice, frame_cache
from gr00t_rl.data.clips import Clip
from gr00t_rl.data.frame_cache import FrameCache
from gr00t_rl.utils.errors import ConfigurationError


@dataclasses.dataclass(frozen=True)
class CountedClip(Clip):
    """Pictures whose pixels all hold their number; counts how often each is decoded, and how many are at once."""

    episode: int = 0
    log: list = dataclasses.field(default_factory=list, compare=False)

    def read(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        stop = self.length if stop is None else stop
        self.log.extend((self.episode, t) for t in range(start, stop))
        numbers = torch.arange(start, stop) + 10 * self.episode
        return numbers.to(torch.uint8)[:, None, None, None].expand(-1, *self.size, 3).clone()


LENGTHS = (9, 4, 1, 8, 10, 7)
START = torch.tensor((0, *LENGTHS)).cumsum(0)


@pytest.fixture
def log(monkeypatch, tmp_path):
    monkeypatch.setattr(frame_cache, "SEGMENT", 4)
    monkeypatch.setattr(frame_cache, "LEAST_SEGMENTS", 2)
    return []


def make(log, tmp_path, segments: float = 6.0, cameras: int = 1) -> FrameCache:
    """A cache that holds so many segments of four frames of each camera."""
    clips = {
        f"c{c}": [CountedClip(tmp_path, n, (2, 3), episode=e, log=log) for e, n in enumerate(LENGTHS)]
        for c in range(cameras)
    }
    return FrameCache(clips, START, segments * cameras * 4 * 2 * 3 * 3, workers=2)


def number_of(frames: torch.Tensor) -> torch.Tensor:
    episode = torch.searchsorted(START, frames, right=True) - 1
    return frames - START[episode] + 10 * episode


def test_segments_end_with_their_episode(log, tmp_path):
    cache = make(log, tmp_path)
    expected = [s for s, n in enumerate((4, 4, 1, 4, 1, 4, 4, 4, 4, 2, 4, 3)) for _ in range(n)]
    assert cache.segments(torch.arange(39)).tolist() == expected
    cache.close()


def test_pictures_are_those_that_are_asked_for(log, tmp_path):
    cache = make(log, tmp_path, cameras=2)
    for seed in range(5):
        frames = torch.randint(0, 39, (16,), generator=torch.Generator().manual_seed(seed))
        cache.prefetch(frames.flip(0))
        found = cache.get("c1", frames)
        assert found.shape == (16, 2, 3, 3) and torch.equal(found[:, 0, 0, 0].long(), number_of(frames))
        assert cache._bytes <= cache.max_bytes
        assert cache._bytes == sum(cache._size(*key) for key in cache._held)
    cache.close()


def test_an_order_is_a_permutation_that_stays_in_pools(log, tmp_path):
    """Any stretch of a pool's length touches no more segments than two pools have."""
    cache = make(log, tmp_path, segments=4.0)
    frames = torch.arange(39)[torch.arange(39) % 7 != 0]
    orders = [cache.order(frames, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])
    for order in orders:
        assert order.sort().values.tolist() == list(range(len(frames)))
    segments = cache.segments(frames[orders[0]])
    pool = cache.pool_frames
    assert pool == int(0.4 * 16)
    assert max(len(s.unique()) for s in segments.split(pool)) < len(segments.unique())
    cache.close()


def test_a_pass_decodes_each_picture_once(log, tmp_path):
    """In the order made for it, with what comes next asked for ahead."""
    cache = make(log, tmp_path, segments=8.0)
    frames = torch.arange(39)
    order = cache.order(frames, torch.Generator().manual_seed(3))
    for begin in range(0, 39, 3):
        cache.prefetch(order[begin : begin + cache.pool_frames])
        batch = order[begin : begin + 3]
        assert torch.equal(cache.get("c0", batch)[:, 0, 0, 0].long(), number_of(batch))
    assert sorted(log) == [(e, t) for e, n in enumerate(LENGTHS) for t in range(n)]
    cache.close()


def test_too_little_memory_is_said(log, tmp_path):
    with pytest.raises(ConfigurationError, match=r"--pictures_gb is 7.2e-08, too little .* set 1.4e-07 or more"):
        make(log, tmp_path, segments=1.0)


@pytest.mark.parametrize("images", ["mp4", "png"])
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_datasets_give_the_same_bits_either_way(write, write_v3, make_episode, monkeypatch, images, version):
    """Nine frames an episode in segments of four, half of them in memory."""
    monkeypatch.setattr(frame_cache, "SEGMENT", 4)
    monkeypatch.setattr(frame_cache, "LEAST_SEGMENTS", 1)
    layout = Layout({"front": (16, 24), "wrist": (8, 8)}, {"s": Slice(0, 2)}, {"a": Slice(0, 3)}, 20.0, images=images)
    episodes = [make_episode(layout, 9, seed) for seed in range(3)]
    root = (write_v3 if version == "v3" else write)(episodes, layout=layout)
    whole = Demonstrations.load([root])
    assert whole.cache is None
    total = sum(view.numel() for view in whole.pictures.values())
    data = Demonstrations.load([root], max_bytes=total / 2)
    assert data.cache is not None and threading.active_count() >= 1
    frames = torch.randperm(27, generator=torch.Generator().manual_seed(0))
    for key, view in data.pictures.items():
        assert view.shape == whole.pictures[key].shape
        assert torch.equal(view[frames], whole.pictures[key][frames])
    assert data.cache._bytes <= total / 2
    data.cache.close()
    some = Demonstrations.load([root], cameras=["wrist"])
    assert list(some.pictures) == ["wrist"] and some.layout == whole.layout
