# SPDX-License-Identifier: BSD-3-Clause
"""What a dataset's ``meta/`` says, for the versions of the LeRobot format that are in use.

v2.0 and v2.1 keep a table and a video per episode, and tell of them in ``.jsonl`` files. v3.0 keeps many episodes in a
file: ``meta/episodes/chunk-*/file-*.parquet`` says in which, and from which second of a video on. Source: LeRobot's
``dataset_metadata.py`` and ``convert_dataset_v21_to_v30.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..utils.errors import ConfigurationError, first_line
from ..utils.foreign_files import check_regular, is_count, is_finite, shown
from . import layout as files
from . import tables
from .layout import ACTION, INFO, MODALITY, PRIVILEGED, STATE, TASK_INDEX, Layout, Slice, image_column

EPISODES_FOLDER, TASKS_TABLE = "meta/episodes", "meta/tasks.parquet"
VERSIONS = ("v2.0", "v2.1", "v3.0")
INSTRUCTIONS = ("task_description", "language_instruction", "coarse_action", "action_text")
"""How the annotations end that tell instructions in the released data configs, the usual one first."""


@dataclass(frozen=True)
class EpisodeFiles:
    """Where an episode lies on disk."""

    index: int
    """Its number in the dataset."""
    length: int
    """Frames T."""
    table: Path
    """Parquet file with its rows, which may hold those of others too."""
    videos: Mapping[str, Path]
    """Camera -> video; empty where pictures lie in the table."""
    begins: Mapping[str, float] | None
    """Camera -> second of the video at which the episode begins; None where each episode has files of its own."""
    success: bool
    """Whether it succeeded; True where nothing is said."""


@dataclass(frozen=True)
class Described:
    """A dataset on disk."""

    root: Path
    info: Mapping[str, Any]
    """Content of info.json."""
    layout: Layout
    tasks: dict[int, str]
    """Number -> text."""
    episodes: list[EpisodeFiles]

    @property
    def version(self) -> str:
        """As info.json writes it, such as "v2.1"."""
        return self.info["codebase_version"]


def read_info(root: Path) -> dict[str, Any]:
    """The content of info.json.

    Raises:
        ConfigurationError: It is missing, broken, of another version, or lacks what every dataset has.
    """
    info = tables.read_json(root / INFO)
    version = info.setdefault("codebase_version", VERSIONS[0])
    if not isinstance(version, str) or version.split(".")[0] not in ("v2", "v3"):
        raise ConfigurationError(
            f"{root / INFO}: codebase_version is {shown(version)}, read are {', '.join(VERSIONS)}; convert the "
            "dataset with LeRobot's own tools"
        )
    for name in ("features", "fps", "data_path"):
        if name not in info:
            raise ConfigurationError(f"{root / INFO} has no {name!r}; give the folder of a LeRobot dataset")
    tables.table(root / INFO, info, "features")
    tables.rate(root / INFO, info, "fps")
    return info


def read_modality(root: Path) -> dict[str, Any]:
    """The content of modality.json. Raises ConfigurationError where it is missing or broken."""
    if not (root / MODALITY).exists():
        raise ConfigurationError(
            f"{root / MODALITY} does not exist, so nothing says which columns are the arm's and which pictures which "
            f"camera's; `gr00t-rl dataset inspect {root} --write` drafts it"
        )
    return tables.read_json(root / MODALITY)


def describe(root: Path, modality: Mapping[str, Any] | None = None) -> Described:
    """Read a dataset's ``meta/``.

    Args:
        root: The dataset's folder.
        modality: What stands for the content of its modality.json; read from there where None.

    Raises:
        ConfigurationError: A table that is missing or broken, or a key that the dataset does not have.
    """
    info = read_info(root)
    modality = read_modality(root) if modality is None else modality
    layout = layout_of(root, info, modality)
    if info["codebase_version"].startswith("v3"):
        tasks, episodes = _tasks_of_v3(root), _episodes_of_v3(root, info, layout)
    else:
        path = root / files.TASKS
        tasks, episodes = _tasks(path, tables.read_jsonl(path)), _episodes_of_v2(root, info, layout)
    table = episodes[0].table if episodes else None
    column = _task_column(info["features"], _part(root, modality, "annotation"), table)
    return Described(root, info, dataclasses.replace(layout, task_column=column), tasks, episodes)


def _tasks(path: Path, rows: list[dict[str, Any]]) -> dict[int, str]:
    """Number -> text."""
    return {tables.count(path, row, TASK_INDEX): tables.of_type(path, row, "task", str) for row in rows}


# -- episodes --------------------------------------------------------------------------------------------------------


def _episodes_of_v2(root: Path, info: Mapping[str, Any], layout: Layout) -> list[EpisodeFiles]:
    path, chunk_size = root / files.EPISODES, files.CHUNK_SIZE
    if info.get("chunks_size") is not None:
        chunk_size = tables.count(root / INFO, info, "chunks_size", least=1)

    def place(pattern: str, index: int, **names: str) -> Path:
        numbers = {"episode_chunk": index // chunk_size, "episode_index": index}
        return root / tables.file_name(root / INFO, info, pattern, **numbers, **names)

    found = []
    for row in tables.read_jsonl(path):
        index, length = tables.count(path, row, "episode_index"), tables.count(path, row, "length", least=1)
        videos = {key: place("video_path", index, video_key=column) for key, column in _videos(layout).items()}
        table = place("data_path", index)
        found.append(EpisodeFiles(index, length, table, videos, None, bool(row.get("success", True))))
    return found


def _videos(layout: Layout) -> dict[str, str]:
    """Camera -> folder of its videos; empty where pictures lie in the tables."""
    return {key: layout.camera_column(key) for key in layout.cameras} if layout.images == "mp4" else {}


def _read_table(path: Path, columns: Callable[[str], bool]) -> pa.Table:
    """The columns of a parquet file that are wanted."""
    try:
        check_regular(path)
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if columns(name)]
        if len({*names}) < len(names):
            raise ValueError("a column is there twice")
        return file.read(columns=names)
    except Exception as error:  # whatever pyarrow makes of foreign bytes
        reason = first_line(error)
        raise ConfigurationError(f"{path} cannot be read ({reason}); write or copy it again") from None


def _tasks_of_v3(root: Path) -> dict[int, str]:
    """Tasks of ``meta/tasks.parquet``: their text is the index of the data frame that LeRobot wrote."""
    path = root / TASKS_TABLE
    table = _read_table(path, lambda name: True)
    kinds = {name: table.schema.field(name).type for name in table.column_names}
    texts = [name for name, kind in kinds.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    if TASK_INDEX not in kinds or not texts:
        raise ConfigurationError(f"{path} has the columns {shown([*kinds])}; it needs {TASK_INDEX} and a text")
    text = "task" if "task" in texts else texts[0]
    return _tasks(path, _rows(path, table.select([TASK_INDEX, text]).rename_columns([TASK_INDEX, "task"])))


def _rows(path: Path, table: pa.Table) -> list[dict[str, Any]]:
    """Rows of a table."""
    try:
        return table.to_pylist()
    except ValueError as error:  # bytes that are no text, times that no clock shows
        reason = first_line(error)
        raise ConfigurationError(f"{path} cannot be read ({reason}); write or copy it again") from None


def _episodes_of_v3(root: Path, info: Mapping[str, Any], layout: Layout) -> list[EpisodeFiles]:
    paths = sorted((root / EPISODES_FOLDER).glob("*/*.parquet"))
    if not paths:
        raise ConfigurationError(f"{root / EPISODES_FOLDER} holds no parquet file; copy the dataset again")
    needed = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    for column in _videos(layout).values():
        needed += [f"videos/{column}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    found = {}
    for path in paths:
        table = _read_table(path, lambda name: name in (*needed, "success"))
        if missing := [name for name in needed if name not in table.column_names]:
            raise ConfigurationError(f"{path} has no column {missing[0]!r}; write or copy the dataset again")
        for row in _rows(path, table):
            episode = _episode_of_v3(root, path, info, layout, row)
            found[episode.index] = episode  # a later file replaces what an interrupted one began
    return [found[index] for index in sorted(found)]


def _episode_of_v3(
    root: Path, path: Path, info: Mapping[str, Any], layout: Layout, row: Mapping[str, Any]
) -> EpisodeFiles:
    def place(prefix: str, pattern: str, **names: str) -> Path:
        numbers = {name: tables.count(path, row, f"{prefix}/{name}") for name in ("chunk_index", "file_index")}
        return root / tables.file_name(root / INFO, info, pattern, **numbers, **names)

    columns = _videos(layout)
    begins = {key: row[f"videos/{column}/from_timestamp"] for key, column in columns.items()}
    if wrong := [key for key, second in begins.items() if not is_finite(second) or second < 0]:
        raise ConfigurationError(
            f"{path}: from_timestamp of an episode's {columns[wrong[0]]!r} is {shown(begins[wrong[0]])}; write or copy "
            "the index again"
        )
    return EpisodeFiles(
        tables.count(path, row, "episode_index"),
        tables.count(path, row, "length", least=1),
        place("data", "data_path"),
        {key: place(f"videos/{column}", "video_path", video_key=column) for key, column in columns.items()},
        begins,
        bool(row.get("success", True)),
    )


# -- layout ----------------------------------------------------------------------------------------------------------


def layout_of(root: Path, info: Mapping[str, Any], modality: Mapping[str, Any]) -> Layout:
    """The layout that info.json and modality.json describe.

    Raises:
        ConfigurationError: A key of modality.json that the dataset does not have, or not in a way that is read.
    """
    features = info["features"]
    parts = {part: _part(root, modality, part) for part in ("video", "state", "action")}
    columns = {key: _camera_column(features, key, entry) for key, entry in parts["video"].items()}
    cameras = {key: _camera(root, features, key, column) for key, column in columns.items()}
    kinds = {"png" if features[column].get("dtype") == "image" else "mp4" for column in columns.values()}
    if len(kinds) > 1:
        raise ConfigurationError(f"{root / INFO}: some cameras are stored as videos, some as images; store them alike")
    images = kinds.pop() if kinds else "mp4"
    if images == "mp4" and cameras and info.get("video_path") is None:
        raise ConfigurationError(f"{root / INFO} has no 'video_path'; give the folder of a LeRobot dataset")
    state, state_columns = _slices(root, features, parts["state"], "state", STATE)
    action, action_columns = _slices(root, features, parts["action"], "action", ACTION)
    return Layout(
        cameras,
        state,
        action,
        info["fps"],
        str(info.get("robot_type") or "unknown"),
        images,
        _privileged(root, features),
        state_columns,
        action_columns,
        {key: column for key, column in columns.items() if column != image_column(key)},
        simulator=_simulator(info),
    )


def _simulator(info: Mapping[str, Any]) -> dict[str, str | bool]:
    """Physics and renderers; what else other tools may write under that name is left out."""
    table = info.get("simulator")
    pairs = table.items() if isinstance(table, Mapping) else ()
    return {str(name): value for name, value in pairs if isinstance(value, str | bool)}


def _part(root: Path, modality: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """A table of modality.json: key -> entry, whose column is a text."""
    found = tables.table(root / MODALITY, modality, name, default={})
    for entry in found.values():
        if entry.get("original_key") is not None:
            tables.of_type(root / MODALITY, entry, "original_key", str)
    return found


def _privileged(root: Path, features: Mapping[str, Any]) -> tuple[str, ...]:
    """A name for each dimension of the privileged observations; none where they were not recorded."""
    names = features.get(PRIVILEGED, {"names": []}).get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise ConfigurationError(f"{root / INFO}: {PRIVILEGED}.names is {shown(names)}; set a list of different names")
    return tuple(names)


def _task_column(features: Mapping[str, Any], annotations: Mapping[str, Mapping[str, Any]], table: Path | None) -> str:
    """The column that tells each frame's instruction.

    It is the first annotation that :data:`INSTRUCTIONS` knows and that has a column; others, such as
    ``human.validity``, tell no instruction. A column may be in the tables alone: GR00T's loaders do not look for it in
    info.json.
    """
    told = [
        entry.get("original_key") or f"annotation.{key}"
        for name in INSTRUCTIONS
        for key, entry in annotations.items()
        if key.endswith(name)
    ]
    there = {*features} if {*told} <= {*features} else {*features, *_columns(table)}
    return next((column for column in told if column in there), TASK_INDEX)


def _columns(table: Path | None) -> list[str]:
    """Columns of a table; none where it cannot be read, which is said when its rows are."""
    try:
        if table is None:
            return []
        check_regular(table)
        return pq.read_schema(table).names
    except Exception:  # whatever pyarrow makes of foreign bytes
        return []


def _camera_column(features: Mapping[str, Any], key: str, entry: Mapping[str, Any]) -> str:
    """The column of a camera: the named one, or else its key, with or without the usual prefix."""
    if name := entry.get("original_key"):
        return name
    return image_column(key) if key not in features and image_column(key) in features else key


def _camera(root: Path, features: Mapping[str, Any], key: str, column: str) -> tuple[int, int]:
    """Height and width of a camera's pictures."""
    if column not in features:
        there = picture_features(features)
        raise ConfigurationError(
            f"{root / MODALITY}: video.{key} is {column!r}, which is no feature in {INFO} (pictures there: "
            f"{', '.join(there) or 'none'}); take the camera out of {MODALITY}, or record it"
        )
    size = picture_size(features[column])
    if size is None:
        raise ConfigurationError(
            f"{root / INFO}: {column}.shape is {shown(features[column].get('shape'))}; set [height, width, 3]"
        )
    return size


def picture_features(features: Mapping[str, Any]) -> list[str]:
    """Columns of pictures, depth left out."""
    return [
        name
        for name, feature in features.items()
        if feature.get("dtype") in ("image", "video")
        and not any(
            isinstance(table := feature.get(part), dict)
            and (table.get("is_depth_map") or table.get("video.is_depth_map"))
            for part in ("info", "video_info")
        )
    ]


def picture_size(feature: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of a feature of colour pictures; None for what is none.

    LeRobot writes [height, width, 3] or, of data that a simulator recorded, [3, height, width]. It names the sides,
    others do not always: names decide where both ends are 3.
    """
    shape, names = feature.get("shape"), feature.get("names")
    if not isinstance(shape, (list, tuple)) or len(shape) != 3 or not all(is_count(side, 1) for side in shape):
        return None
    named_first = isinstance(names, list) and names[:1] in (["channel"], ["channels"])
    first = shape[0] == 3 and (shape[2] != 3 or named_first)
    height, width, channels = (*shape[1:], shape[0]) if first else shape
    return (height, width) if channels == 3 else None


def width_of(feature: Mapping[str, Any]) -> int | None:
    """Length of a feature that is a vector or a number; None for what is neither."""
    shape = feature.get("shape")
    if not isinstance(shape, (list, tuple)) or len(shape) > 1 or feature.get("dtype") in ("image", "video", "string"):
        return None
    width = shape[0] if shape else 1
    return width if is_count(width, 1) else None


def _slices(
    root: Path,
    features: Mapping[str, Any],
    keys: Mapping[str, Mapping[str, Any]],
    name: str,
    default: str,
) -> tuple[dict[str, Slice], tuple[str, ...]]:
    """Where the keys of the state or of the action lie, in the columns that are named, one after the other."""
    columns = {key: entry.get("original_key") or default for key, entry in keys.items()}
    if not columns:
        width = width_of(features.get(default, {})) or 7
        raise ConfigurationError(
            f"{root / MODALITY}: {name!r} has no key; set one, such as "
            f'{{"{name}": {{"arm": {{"start": 0, "end": {width}}}}}}}'
        )
    begin, position = {}, 0
    for key, column in columns.items():
        if column in begin:
            continue
        if column not in features:
            there = [known for known, feature in features.items() if (width_of(feature) or 0) > 1]
            raise ConfigurationError(
                f"{root / INFO} has no feature {column!r}, in which {name}.{key} of {MODALITY} lies; set its "
                f"original_key to one of {', '.join(there) or 'none'}"
            )
        if width_of(features[column]) is None:
            kind, shape = (shown(features[column].get(what)) for what in ("dtype", "shape"))
            raise ConfigurationError(
                f"{root / INFO}: {column!r}, in which {name}.{key} of {MODALITY} lies, is of type {kind} and shape "
                f"{shape}; name a vector"
            )
        begin[column] = position
        position += width_of(features[column]) or 0
    slices = {}
    for key, entry in keys.items():
        start, end, column = entry.get("start"), entry.get("end"), columns[key]
        width = width_of(features[column]) or 0
        if not is_count(start) or not is_count(end) or not start < end <= width:
            raise ConfigurationError(
                f"{root / MODALITY}: {name}.{key} has start {shown(start)} and end {shown(end)}, but {column} has "
                f"{width} dimensions; set 0 <= start < end <= {width}"
            )
        offset = begin[column]
        absolute = tables.of_type(root / MODALITY, entry, "absolute", bool, default=True)
        slices[key] = Slice(offset + start, offset + end, absolute)
    return slices, tuple(begin)
