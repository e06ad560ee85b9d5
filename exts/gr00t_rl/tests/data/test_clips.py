# SPDX-License-Identifier: BSD-3-Clause
"""Parts of videos: the same pictures as decoding all of them, wherever key frames are and however they are stored."""

from __future__ import annotations

import itertools

import av
import numpy as np
import pytest
import torch

from gr00t_rl.data.clips import Clip, first_frame
from gr00t_rl.data.pictures import decode_part, decode_video, picture_times, stored_frames

FRAMES, FPS = 50, 10


@pytest.fixture(scope="module", params=[(2, 0), (12, 3), (250, 2)], ids=["g2", "g12-b3", "g250-b2"])
def video(request, tmp_path_factory):
    """H.264 as other tools write it: key frames every so many pictures, so many B-frames between others."""
    gop, between = request.param
    path = tmp_path_factory.mktemp("video") / "file-000.mp4"
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.options = {"g": str(gop), "bf": str(between), "keyint_min": "1", "crf": "20"}
        for number in range(FRAMES):
            picture = np.full((32, 48, 3), 5 * number, np.uint8)
            picture[:, : number % 48] = generator.integers(0, 256, (32, number % 48, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_parts_are_those_of_the_whole(video):
    whole = decode_video(video)
    assert len(whole) == FRAMES == stored_frames(video)
    assert picture_times(video)[1] == pytest.approx(np.arange(FRAMES) / FPS)
    for start, stop in itertools.pairwise((0, 1, 11, 12, 13, 30, 49, 50)):
        assert torch.equal(decode_part(video, start, stop), whole[start:stop]), (start, stop)
    clip = Clip(video, 20, (32, 48), first_frame(video, 2.5, 20, FPS), whole=False)
    assert clip.first == 25 and torch.equal(clip.read(3, 7), whole[28:32])
    assert torch.equal(clip.read(), whole[25:45])


def test_pictures_beyond_an_episodes_end_are_left_out(video):
    clip = Clip(video, 47, (32, 48))
    assert clip.check(FPS) == 3 and Clip(video, 50, (32, 48)).check(FPS) == 0
    assert torch.equal(clip.read(), decode_video(video)[:47])
    assert torch.equal(clip.read(40), decode_video(video)[40:47])
    assert clip.rate() == FPS


@pytest.mark.parametrize(
    ("frames", "fps", "is_refused"),
    [
        (25, FPS / 2, True),
        (26, FPS / 2, True),
        (50, FPS / 2, False),
        (49, FPS / 2, False),
        (49, FPS, False),
        (48, FPS * 1.005, False),
    ],
)
def test_pictures_at_a_rate_of_their_own_are_not_those_of_the_frames(video, frames, fps, is_refused):
    """50 pictures: of 25 frames at half of the video's rate, every second one would be meant."""
    clip = Clip(video, frames, (32, 48))
    if not is_refused:
        assert clip.check(fps) == FRAMES - frames
        return
    with pytest.raises(ValueError, match=rf"50 pictures at {FPS:g} per second, the episode has {frames} frames at 5: "):
        clip.check(fps)


def test_what_a_video_does_not_hold_is_refused(video):
    with pytest.raises(ValueError, match="holds 50 pictures, number 50 is wanted"):
        decode_part(video, 40, 51)
    with pytest.raises(ValueError, match=r"no picture at 5\.100 s"):
        first_frame(video, 3.2, 20, FPS)
    with pytest.raises(ValueError, match="holds 50 pictures, the episode has 51 frames"):
        Clip(video, 51, (32, 48)).check(FPS)
    with pytest.raises(ValueError, match=r"holds pictures \[50, 32, 48, 3\], \[50, 48, 32, 3\] are expected"):
        Clip(video, 50, (48, 32)).read()
