# SPDX-License-Identifier: BSD-3-Clause
"""The LeRobot layout on disk: exact round trips, readable without this package, resumable, refused when broken."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from gr00t_rl.data import DatasetWriter, Demonstrations, Layout, Slice, statistics
from gr00t_rl.data.pictures import encode_video, picture_times, stored_rate
from gr00t_rl.gr00t import ActionKey, Modality, StateKey
from gr00t_rl.utils.errors import ConfigurationError

MODALITY = Modality(
    "franka",
    {"front": "front_group", "wrist": "wrist_group"},
    {"joints": StateKey("policy", 3, 5), "gripper": StateKey("policy", 0, 1)},
    {"arm": ActionKey(0, 2, absolute=False), "gripper": ActionKey(2, 3)},
)


@pytest.mark.parametrize("images", ["mp4", "png"])
def test_round_trip_is_exact(write, layout, episodes, images):
    """Every bit of pictures, states and actions comes back, from videos (lossless RGB) and from PNG files."""
    root = write(episodes, layout=dataclasses.replace(layout, images=images))
    found = Demonstrations.load([root])
    assert found.layout == dataclasses.replace(layout, images=images)
    for key in layout.cameras:
        assert torch.equal(found.pictures[key], torch.cat([episode.pictures[key] for episode in episodes]))
    assert torch.equal(found.state, torch.cat([episode.state for episode in episodes]))
    assert torch.equal(found.action, torch.cat([episode.action for episode in episodes]))
    assert found.start.tolist() == [0, 4, 7, 12]
    assert found.episode.tolist() == [0] * 4 + [1] * 3 + [2] * 5
    assert found.instructions == ["reach the ball", "push the cube"]
    assert found.task.tolist() == [0] * 4 + [1] * 3 + [0] * 5
    assert found.success.tolist() == [True, False, True]


def test_privileged_observations_come_back(write, layout, episodes):
    """They have a column and names of their own, no place in modality.json, and may differ between datasets."""
    named = dataclasses.replace(layout, privileged=("cube_0", "cube_1"))
    told = [torch.randn(len(e), 2, generator=torch.Generator().manual_seed(i)) for i, e in enumerate(episodes)]
    root = write([dataclasses.replace(e, privileged=p) for e, p in zip(episodes, told, strict=True)], layout=named)
    found = Demonstrations.load([root])
    assert found.layout.privileged == ("cube_0", "cube_1")
    assert torch.equal(found.privileged, torch.cat(told))
    feature = json.loads((root / "meta" / "info.json").read_text())["features"]["observation.privileged"]
    assert feature == {"dtype": "float32", "shape": [2], "names": ["cube_0", "cube_1"]}
    assert "privileged" not in (root / "meta" / "modality.json").read_text()
    without = write(episodes, name="without")
    assert Demonstrations.load([without]).privileged.shape == (12, 0)
    other = dataclasses.replace(layout, privileged=("ball", "cube_1"))
    third = write([dataclasses.replace(e, privileged=p) for e, p in zip(episodes, told, strict=True)], "third", other)
    both = Demonstrations.load([without, root, third])
    assert both.layout.privileged == ("cube_0", "cube_1", "ball") and both.privileged[:12].isnan().all()
    assert torch.equal(both.privileged[12:24, :2], torch.cat(told)) and both.privileged[12:24, 2].isnan().all()
    assert torch.equal(both.privileged[24:, [2, 1]], torch.cat(told)) and both.privileged[24:, 0].isnan().all()


def test_pyarrow_alone_reads_the_columns(write, layout, episodes):
    root = write(episodes, layout=dataclasses.replace(layout, images="png"))
    table = pq.read_table(root / "data" / "chunk-000" / "episode_000001.parquet").to_pydict()
    np.testing.assert_array_equal(np.array(table["observation.state"], dtype=np.float32), episodes[1].state.numpy())
    np.testing.assert_array_equal(np.array(table["action"], dtype=np.float32), episodes[1].action.numpy())
    assert table["frame_index"] == [0, 1, 2]
    assert table["index"] == [4, 5, 6]  # the first episode has four frames
    assert table["episode_index"] == table["task_index"] == [1, 1, 1]
    assert table["annotation.human.task_description"] == [1, 1, 1]
    assert table["timestamp"] == pytest.approx([0.0, 0.05, 0.1])
    assert table["next.done"] == [False, False, True]
    assert table["next.success"] == [False, False, False]
    assert table["next.reward"] == pytest.approx(episodes[1].reward.tolist())
    picture = Image.open(io.BytesIO(table["observation.images.front"][2]["bytes"]))
    np.testing.assert_array_equal(np.asarray(picture), episodes[1].pictures["front"][2].numpy())


def test_meta_is_what_gr00t_and_lerobot_look_for(write, layout, episodes):
    root = write(episodes)
    info, modality, stats = (
        json.loads((root / "meta" / f"{n}.json").read_text()) for n in ("info", "modality", "stats")
    )
    counts = ("total_episodes", "total_frames", "total_tasks", "total_videos", "fps", "codebase_version")
    assert [info[name] for name in counts] == [3, 12, 2, 6, 20.0, "v2.1"]
    assert info["features"]["observation.images.front"]["shape"] == [16, 24, 3]
    assert info["features"]["observation.state"]["names"] == ["joints_0", "joints_1", "gripper_0"]
    path = info["video_path"].format(episode_chunk=0, episode_index=2, video_key="observation.images.wrist")
    assert (root / path).is_file()
    assert (root / info["data_path"].format(episode_chunk=0, episode_index=2)).is_file()
    assert modality["action"]["arm"] == {"original_key": "action", "start": 0, "end": 2, "absolute": False}
    assert modality["video"] == {key: {"original_key": f"observation.images.{key}"} for key in layout.cameras}
    assert modality["annotation"] == {"human.task_description": {}}
    states = np.concatenate([episode.state.numpy() for episode in episodes])
    np.testing.assert_allclose(stats["observation.state"]["q99"], np.quantile(states, 0.99, axis=0), rtol=1e-5)
    np.testing.assert_allclose(stats["observation.state"]["std"], states.std(axis=0), rtol=1e-5)
    lines = [json.loads(line) for line in (root / "meta" / "episodes.jsonl").read_text().splitlines()]
    assert lines[1] == {"episode_index": 1, "tasks": ["push the cube"], "length": 3, "success": False, "seed": 1}
    last = json.loads((root / "meta" / "episodes_stats.jsonl").read_text().splitlines()[2])["stats"]
    blue = episodes[2].pictures["wrist"][..., 2].double() / 255
    assert last["observation.images.wrist"]["mean"][2] == [[pytest.approx(blue.mean().item())]]
    assert last["action"]["count"] == [5]


def test_statistics_by_hand():
    """0, 1, ..., 10 and a constant: quantiles lie 0.1 from the ends, the variance is (11^2 - 1) / 12 = 10."""
    values = torch.stack((torch.arange(10, -1, -1), torch.full((11,), 3)), dim=1)
    expected = {"min": [0, 3], "max": [10, 3], "mean": [5, 3], "std": [10**0.5, 0], "q01": [0.1, 3], "q99": [9.9, 3]}
    found = statistics(values)
    assert found.keys() == expected.keys()
    for name, numbers in expected.items():
        assert found[name] == pytest.approx(numbers), name


def test_statistics_by_key(write, episodes):
    found = Demonstrations.load([write(episodes)]).statistics()
    states = torch.cat([episode.state for episode in episodes])
    assert found["state"]["joints"]["max"] == [2.0, 4.0]  # the largest seed and the last frame of the longest episode
    assert found["state"]["gripper"]["min"] == [states[:, 2].min().item()]
    assert list(found["action"]) == ["arm", "gripper"]
    assert len(found["action"]["arm"]["q01"]) == 2


def test_chunks_end_with_their_episode(write, episodes):
    """Beyond the end, changes are zero and absolute values stay; other episodes never leak in."""
    data = Demonstrations.load([write(episodes)])
    chunk = data.chunks(torch.tensor([0, 2, 6]), 3)
    a = data.action
    zero = torch.zeros(2)
    assert torch.equal(chunk[0], a[0:3])
    assert torch.equal(chunk[1], torch.stack((a[2], a[3], torch.cat((zero, a[3, 2:])))))
    held = torch.cat((zero, a[6, 2:]))
    assert torch.equal(chunk[2], torch.stack((a[6], held, held)))


def test_several_datasets_and_successes_only(write, layout, make_episode, episodes):
    other = [make_episode(layout, 2, 7, "push the cube"), make_episode(layout, 2, 8, "stack", success=False)]
    roots = [write(episodes, "one"), write(other, "two")]
    both = Demonstrations.load(roots)
    assert both.instructions == ["reach the ball", "push the cube", "stack"]
    assert both.task.tolist() == [0] * 4 + [1] * 3 + [0] * 5 + [1] * 2 + [2] * 2
    assert both.state[:, 0].tolist() == [0] * 4 + [1] * 3 + [2] * 5 + [7] * 2 + [8] * 2
    good = Demonstrations.load(roots, only_success=True)
    assert good.start.tolist() == [0, 4, 9, 11]
    assert good.state[:, 0].tolist() == [0] * 4 + [2] * 5 + [7] * 2
    assert torch.equal(good.pictures["front"][4:9], episodes[2].pictures["front"])
    first = Demonstrations.load(roots, episodes=1)  # of each folder
    assert first.start.tolist() == [0, 4, 6] and first.state[:, 0].tolist() == [0] * 4 + [7] * 2
    with pytest.raises(
        ConfigurationError, match="two has 2 episodes of 2 in all, 3 are wanted; set --episodes to at most 2"
    ):
        Demonstrations.load(roots, episodes=3)


def test_datasets_of_different_simulators_are_told_apart(write, layout, episodes, make_episode, capsys):
    """What a dataset was recorded with comes back; another renderer is a warning, since the pictures are others."""
    warp, ray = ({"physics": "newton", "front.renderer_type": name} for name in ("newton_warp", "isaac_rtx"))
    first, second = (dataclasses.replace(layout, simulator=table) for table in (warp, ray))
    roots = [write(episodes, "one", first), write([make_episode(second, 2, 7)], "two", second)]
    assert Demonstrations.load(roots[:1] * 2).layout.simulator == warp
    assert "warning" not in capsys.readouterr().out
    Demonstrations.load(roots)
    said = "two was recorded in another simulator than the first: front.renderer_type newton_warp, now isaac_rtx"
    assert said in capsys.readouterr().out
    info = json.loads((roots[0] / "meta" / "info.json").read_text())
    for foreign in ("newton", ["newton"], {"physics": ["newton"]}):
        (roots[0] / "meta" / "info.json").write_text(json.dumps(info | {"simulator": foreign}))
        assert Demonstrations.load(roots[:1]).layout.simulator == {}


def test_cameras_that_are_not_asked_for_may_differ(write, layout, episodes, make_episode):
    other = dataclasses.replace(layout, cameras={"front": (16, 24), "top": (8, 8)})
    roots = [write(episodes, "one"), write([make_episode(other, 2, 7)], "two", other)]
    assert list(Demonstrations.load(roots, cameras=["front"]).pictures) == ["front"]
    with pytest.raises(ConfigurationError, match=r"two: cameras is .*top.* in the first dataset .*wrist"):
        Demonstrations.load(roots)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_videos_that_are_not_asked_for_need_not_be_there(write, write_v3, episodes, version):
    """As after a download of one camera alone."""
    root = write(episodes) if version == "v2.1" else write_v3(episodes)
    for file in root.rglob("*.mp4"):
        if "wrist" in str(file):
            file.unlink()
    data = Demonstrations.load([root], cameras=["front"])
    assert torch.equal(data.pictures["front"], torch.cat([episode.pictures["front"] for episode in episodes]))
    with pytest.raises(ConfigurationError, match="episode 0 cannot be read"):
        Demonstrations.load([root])


@pytest.mark.parametrize("fps", [20.0, 100 / 3, 12.5, 7.5, 30000 / 1001])
def test_pictures_are_shown_when_the_table_says(tmp_path, fps):
    """Frame t at t / fps, at rates that are no whole number, too: loaders of others look for it by time."""
    file = tmp_path / "video.mp4"
    file.write_bytes(encode_video(torch.zeros(300, 8, 8, 3, dtype=torch.uint8), round(fps, 6)))
    shown = picture_times(file)[1]
    assert abs(shown - torch.arange(300).numpy() / fps).max() < 2e-4
    assert stored_rate(file) == pytest.approx(fps, rel=1e-6)


def test_layout_of_a_modality(layout):
    """State keys follow each other in the modality's order; the action is the env's."""
    assert Layout.of(MODALITY, layout.cameras, 20.0) == layout


def test_modality_and_dataset_must_agree(write, episodes):
    data = Demonstrations.load([write(episodes)])
    assert data.arranged(MODALITY) is data
    alone = dataclasses.replace(MODALITY, video={"wrist": "wrist_group"})
    assert data.arranged(alone).layout.cameras == {"wrist": (8, 8)} and data.layout.cameras["front"] == (16, 24)
    wider = {"joints": StateKey("policy", 0, 3)}
    for changed, message in (
        ({"state": wider}, "state is joints 0:2, gripper 2:3, the modality has joints 0:3; give"),
        ({"state": {"arm": StateKey("policy", 0, 2)}}, "state is joints 0:2, gripper 2:3, the modality has arm 0:2"),
        ({"video": {"top": "front"}}, "camera 'top'"),
        ({"action": {"arm": ActionKey(0, 2), "gripper": ActionKey(2, 3)}}, "arm 0:2 .changes."),
    ):
        with pytest.raises(ConfigurationError, match=message):
            data.arranged(dataclasses.replace(MODALITY, **changed))


def test_keys_are_arranged_as_a_modality_has_them(write, episodes):
    """Others are left out; chunks are padded by what each column now is."""
    data = Demonstrations.load([write(episodes)])
    turned = dataclasses.replace(
        MODALITY,
        state={"gripper": StateKey("policy", 0, 1)},
        action={"arm": ActionKey(1, 3, absolute=False), "gripper": ActionKey(0, 1)},
    )
    found = data.arranged(turned)
    assert torch.equal(found.state, data.state[:, 2:])
    assert torch.equal(found.action, data.action[:, [2, 0, 1]])
    assert torch.equal(found.chunks(torch.tensor([3]), 2)[0, 1], data.action[3, [2, 0, 0]] * torch.tensor([1, 0, 0]))
    assert found.statistics()["action"]["arm"] == data.statistics()["action"]["arm"]
    assert found.pictures is data.pictures


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_none_are_refused(write, episodes, value):
    episodes[2].action[1, 2] = value
    with pytest.raises(ConfigurationError, match=r"action.gripper is no finite number in 1 frames, first in episode 2"):
        Demonstrations.load([write(episodes)]).check(MODALITY)


def test_keys_may_lie_in_columns_of_their_own(write, episodes):
    """As ``original_key`` says: of states and actions, numbers and vectors, of pictures and instructions."""
    root = write(episodes)
    for file in root.glob("data/*/*.parquet"):
        table = pq.read_table(file)
        table = table.append_column("state.grip", pa.array(np.arange(len(table), dtype=np.float64)))
        table = table.append_column(
            "action.arm", pa.array([[t, -t] for t in range(len(table))], pa.list_(pa.float64()))
        )
        pq.write_table(table.append_column("words", pa.array([1] * len(table))), file)
    videos = root / "videos" / "chunk-000"
    (videos / "observation.images.front").rename(videos / "cam0")

    def info(i):
        i["features"]["cam0"] = i["features"].pop("observation.images.front")
        i["features"]["state.grip"] = {"dtype": "float64", "shape": [1]}
        i["features"]["action.arm"] = {"dtype": "float64", "shape": [2]}
        i["features"]["words"] = {"dtype": "int64", "shape": [1]}

    def modality(m):
        m["state"]["grip"] = {"original_key": "state.grip", "start": 0, "end": 1}
        m["action"]["lift"] = {"original_key": "action.arm", "start": 1, "end": 2}
        m["video"]["front"]["original_key"] = "cam0"
        m["annotation"] = {"human.validity": {}, "human.action.task_description": {"original_key": "words"}}

    edit(root / "meta" / "info.json", info)
    edit(root / "meta" / "modality.json", modality)
    data = Demonstrations.load([root])
    assert data.layout.state["grip"] == Slice(3, 4) and data.layout.action["lift"] == Slice(4, 5)
    steps = [t for episode in episodes for t in range(len(episode))]
    assert data.state[:, 3].tolist() == steps and data.action[:, 4].tolist() == [-t for t in steps]
    assert torch.equal(data.state[:, :3], torch.cat([episode.state for episode in episodes]))
    assert torch.equal(data.pictures["front"], torch.cat([episode.pictures["front"] for episode in episodes]))
    assert data.task.tolist() == [1] * 12


# -- resuming ----------------------------------------------------------------------------------------------------------


def files_of(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_interrupted_collection_continues_to_the_same_bytes(write, layout, episodes, tmp_path):
    """Killed between two commits, while it wrote an episode: what comes out is what an uninterrupted one writes."""
    whole = write(episodes, "whole")
    root = tmp_path / "interrupted"
    writer = DatasetWriter(root, layout, {"seed": 0})
    writer.add(episodes[0])
    writer.commit(1)
    writer.add(episodes[2])  # not committed: another episode will stand there
    (root / "data" / "chunk-000" / ".episode_000002.parquet.partial").write_bytes(b"half")

    again = DatasetWriter(root, layout, {"seed": 0})
    assert (again.num_episodes, again.num_frames, again.rounds) == (1, 4, 1)
    for episode in episodes[1:]:
        again.add(episode)
    again.commit(1)
    assert files_of(root) == files_of(whole)


def test_nothing_is_committed_yet(layout, episodes, tmp_path):
    writer = DatasetWriter(tmp_path / "new", layout, {"seed": 0})
    writer.add(episodes[0])
    assert DatasetWriter(tmp_path / "new", layout, {"seed": 0}).num_episodes == 0
    with pytest.raises(ConfigurationError, match=r"info\.json does not exist; give the folder"):
        Demonstrations.load([tmp_path / "new"])


def test_other_settings_and_foreign_folders_are_refused(write, layout, episodes, tmp_path):
    root = write(episodes)
    with pytest.raises(ConfigurationError, match="was collected with seed=0, now it is 1"):
        DatasetWriter(root, layout, {"seed": 1})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important")
    with pytest.raises(ConfigurationError, match="was not collected by this tool"):
        DatasetWriter(tmp_path / "mine", layout, {"seed": 0})


# -- what is wrong with a dataset --------------------------------------------------------------------------------------


def test_broken_datasets_are_refused_in_one_line(write, layout, make_episode, episodes, tmp_path):
    root = write(episodes)
    with pytest.raises(ConfigurationError, match=r"info\.json does not exist; give the folder"):
        Demonstrations.load([tmp_path / "nowhere"])
    parquet = root / "data" / "chunk-000" / "episode_000001.parquet"
    parquet.write_bytes(parquet.read_bytes()[:100])
    with pytest.raises(ConfigurationError, match=r"episode 1 cannot be read .*collect the dataset again") as error:
        Demonstrations.load([root])
    assert "\n" not in str(error.value)
    wider = dataclasses.replace(layout, state={"joints": Slice(0, 3), "gripper": Slice(3, 4)})
    other = write([make_episode(wider, 2, 0)], "wider", wider)
    with pytest.raises(ConfigurationError, match="state is joints 0:3, gripper 3:4, in the first dataset "):
        Demonstrations.load([write(episodes, "good"), other])
    with pytest.raises(ConfigurationError, match="0 successful episodes of 1 in all"):
        Demonstrations.load([write([episodes[1]], "failures")], only_success=True)


def edit(path: Path, change) -> None:
    """Change a table on disk."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (
            "modality",
            lambda m: m["video"].update(rear={"original_key": "observation.images.rear"}),
            "video.rear is 'observation.images.rear', which is no feature",
        ),
        (
            "info",
            lambda i: i["features"].pop("observation.images.front"),
            "video.front is .* which is no feature in meta",
        ),
        (
            "modality",
            lambda m: m["video"]["front"].update(original_key="observation.images.cam0"),
            r"video.front is 'observation.images.cam0', which is no feature in .*there: observation.images.fr",
        ),
        ("info", lambda i: i["features"]["observation.images.front"].update(shape=[64]), r"front.shape is \[64\]; set"),
        ("info", lambda i: i["features"].pop("observation.state"), "has no feature 'observation.state'"),
        ("info", lambda i: i.pop("fps"), r"info.json has no 'fps'"),
        ("info", lambda i: i.pop("video_path"), r"info.json has no 'video_path'"),
        ("modality", lambda m: m.pop("state"), "'state' has no key; set one, such as"),
        ("modality", lambda m: m.update(action=["arm"]), r"'action' is \['arm'\]; set a table of tables"),
        ("modality", lambda m: m["state"]["joints"].update(original_key="x"), "has no feature 'x', in which state.joi"),
        (
            "modality",
            lambda m: m["state"]["joints"].update(original_key="observation.images.front"),
            "state.joints of .* is of type 'video' and shape .*; name a vector",
        ),
        ("info", lambda i: i.update(codebase_version="v1.6"), "codebase_version is 'v1.6', read are v2.0, v2.1, v3.0"),
        ("info", lambda i: i.update(fps="fast"), "'fps' is 'fast'; set a number above 0"),
        (
            "info",
            lambda i: i.update(data_path="../{episode_index}.parquet"),
            "'data_path' is .* which gives '../0.parquet'; set",
        ),
        ("info", lambda i: i.update(data_path="/etc/{episode_index}"), "set a path inside the dataset's folder"),
        ("info", lambda i: i.update(video_path="{video_key}/../../x"), "set a path inside the dataset's folder"),
        ("info", lambda i: i.update(data_path="{file}.parquet"), "with {episode_chunk}, {episode_index}"),
        ("modality", lambda m: m["state"]["joints"].pop("start"), "state.joints has start None and end"),
        (
            "modality",
            lambda m: m["action"].update(arm={"start": 0, "end": 99}),
            "action.arm has start 0 and end 99, but",
        ),
    ],
)
def test_tables_that_do_not_fit_say_what_is_wrong(write, episodes, file, change, said) -> None:
    root = write(episodes)
    edit(root / "meta" / f"{file}.json", change)
    with pytest.raises(ConfigurationError, match=said) as error:
        Demonstrations.load([root])
    assert str(root) in str(error.value) and "\n" not in str(error.value)


def test_a_collection_that_cannot_be_continued(write, layout, episodes) -> None:
    root = write(episodes)
    parquet = root / "data" / "chunk-000" / "episode_000001.parquet"
    parquet.write_bytes(parquet.read_bytes()[:100])
    with pytest.raises(ConfigurationError, match=r"cannot be continued: .*episode_000001.parquet cannot be read"):
        DatasetWriter(root, layout, {"seed": 0})
    edit(root / "meta" / "collection.json", lambda content: content.pop("episodes"))
    with pytest.raises(ConfigurationError, match="does not say how far the collection came"):
        DatasetWriter(root, layout, {"seed": 0})
    (root / "meta" / "collection.json").write_text("[]")
    with pytest.raises(ConfigurationError, match="holds a list, not a table"):
        DatasetWriter(root, layout, {"seed": 0})


def test_a_video_that_lacks_frames_is_refused(write, episodes):
    root = write(episodes)
    folder = root / "videos" / "chunk-000" / "observation.images.front"
    (folder / "episode_000000.mp4").write_bytes((folder / "episode_000001.mp4").read_bytes())
    with pytest.raises(ConfigurationError, match="episode 0 cannot be read"):
        Demonstrations.load([root])


def test_without_the_extra_it_ends_in_one_line():
    """In a process that cannot import PyAV."""
    code = "import sys; sys.modules['av'] = None; import gr00t_rl.data"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    how = "pip install 'gr00t_rl[data]' (in a clone: uv run --extra data …)"
    expected = f"[gr00t_rl] demonstrations need av, which is not installed; {how}"
    assert done.stderr.strip().splitlines()[-1] == expected and "Traceback" not in done.stderr
