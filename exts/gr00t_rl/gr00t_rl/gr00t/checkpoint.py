# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints in the official layout: config.json, safetensors shards, their index, and assets.

This file knows tensors by name and no network; ``network.py`` turns them into one, and a network into them.
Every way a checkpoint can be wrong ends in a one-line :class:`CheckpointError`, before any weight is read where
possible. Writing is all or nothing: into a temporary sibling folder that is renamed when it is complete.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..utils.foreign_files import check_regular, is_hub_id, is_inside, parse_json, read_bytes, read_text
from ..utils.whole_files import held, remove_leftovers
from .errors import CheckpointError

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
SETTINGS_FILE = "experiment_cfg/gr00t_rl.json"
"""What the official files do not say of a policy, see ``settings.py``."""
PROCESSOR_FILE, PROCESSOR_FOLDER = "processor_config.json", "processor"
TOKENIZER_FILES = (
    "chat_template.json",
    "chat_template.jinja",
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)
CHECKPOINT_FILES = (
    *(CONFIG_FILE, INDEX_FILE, *TOKENIZER_FILES),
    *("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
    *("eagle_config.json", "experiment_cfg/metadata.json"),
    *("qwen3_vl_config.json", "statistics.json", "embodiment_id.json"),
    SETTINGS_FILE,
)
"""Files beside the weights in a checkpoint of any generation: a save replaces or removes them."""
CARD_FILE = "README.md"
"""The model card, where the hub looks for it."""
CARD_MARK = "library_name: gr00t_rl"
"""Line of a card that an export wrote: it speaks of the weights that were there, and a save of others removes it."""
MAX_SHARD_BYTES = 5_000_000_000


@dataclass(frozen=True)
class Layout:
    """How a generation of GR00T is laid out on disk."""

    generation: str
    """As in messages, "GR00T N1.5"."""
    assets: tuple[str, ...]
    """Files beside the weights that travel with a model from load to save."""
    sizes: tuple[str, ...] = (CONFIG_FILE,)
    """Files with the sizes of the network; those after the first may be missing."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Beginnings of names: (in the checkpoint, in our modules)."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """Name in the checkpoint of a weight that is not read -> the weight of ours that it equals."""
    writes_tied: bool = False
    """Whether the tied ones are in an official checkpoint."""

    def to_module_key(self, key: str) -> str:
        """A stored name as our modules spell it."""
        for theirs, ours in self.renamed:
            if key.startswith(theirs):
                return ours + key.removeprefix(theirs)
        return key

    def to_checkpoint_key(self, key: str) -> str:
        """One of our names as the official checkpoint spells it."""
        for theirs, ours in self.renamed:
            if key.startswith(ours):
                return theirs + key.removeprefix(ours)
        return key


# -- reading ----------------------------------------------------------------------------------------------------------


def resolve_folder(path_or_hub_id: str | os.PathLike[str], weights: bool = True) -> Path:
    """The local folder of a checkpoint; only a hub id (``org/name`` that is not an existing path) is downloaded.

    Args:
        path_or_hub_id: Folder or hub id.
        weights: Whether the weights are downloaded, too.

    Raises:
        CheckpointError: no such folder, or the hub cannot give it.
    """
    folder = Path(path_or_hub_id).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{folder} is a file: give the folder that holds {CONFIG_FILE}")
    if not isinstance(path_or_hub_id, str) or not is_hub_id(path_or_hub_id):
        here = f", and {folder.parent} is a folder here, so it is no hub id" if folder.parent.is_dir() else ""
        raise CheckpointError(f"no such folder: {folder}{here}; give an existing folder or a hub id like org/name")
    try:
        wanted = ["*.json", "*.txt", "*.jinja", *(["*.safetensors"] if weights else [])]
        return Path(snapshot_download(path_or_hub_id, allow_patterns=wanted))
    except Exception as error:
        raise CheckpointError(
            f"no such folder: {folder}, and as a hub id it cannot be fetched ({type(error).__name__}: {error}); "
            "give an existing folder, or check the name and the connection"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON table.

    Raises:
        CheckpointError: missing file, bad JSON, or JSON that is not a table.
    """
    try:
        content = parse_json(read_text(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} has no {path.name}: give the folder of a GR00T checkpoint") from error
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({error}): copy it again from the source") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a table: copy it again from the source")
    return content


def read_sizes_of(folder: Path, config_class: Any) -> Any:
    """The sizes of the network of the checkpoint in ``folder``, as ``config_class`` holds them.

    Raises:
        CheckpointError: a missing or broken file, or sizes that are not those of one network.
    """
    first, *others = config_class.files
    files = {first: read_json(folder / first)}
    files |= {name: read_json(folder / name) for name in others if (folder / name).exists()}
    try:
        return config_class.from_files(files)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def read_assets(folder: Path, layout: Layout) -> dict[str, bytes]:
    """Contents of the asset files that ``folder`` has. In memory, so a save needs the source folder no more.

    NVIDIA's training of N1.7 leaves those of the processor in ``processor/``, and its programs look there too where the
    folder itself has no ``processor_config.json``.

    Raises:
        CheckpointError: one that cannot be read.
    """
    nested = folder / PROCESSOR_FOLDER
    places = (folder,) if (folder / PROCESSOR_FILE).exists() or not nested.is_dir() else (folder, nested)
    found = {}
    try:
        for name in (*layout.assets, SETTINGS_FILE):
            for place in places:
                if name not in found and (place / name).exists():
                    found[name] = read_bytes(place / name)
        return found
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read ({error}): copy it again from the source") from error


def load_tensors(
    folder: Path,
    layout: Layout,
    expected: Mapping[str, torch.Size],
    dtype: torch.dtype | None,
    device: torch.device,
) -> dict[str, Tensor]:
    """Read the weights of the checkpoint in ``folder`` by module name, tensor by tensor, straight onto ``device``.

    Args:
        folder: The checkpoint.
        layout: How it is laid out.
        expected: Shape of every weight of the network, by module name.
        dtype: Type of the result, whatever the type on disk; None: as on disk.
        device: Where it lies.

    Raises:
        CheckpointError: a missing, truncated or foreign file, or names or shapes that are not this network's.
    """
    shards = _shard_files(folder)
    _check_tensors(folder, layout, {name: list(shape) for name, shape in expected.items()}, shards)
    state: dict[str, Tensor] = {}
    for shard in shards:
        try:
            with _opened(shard) as file:
                for key in (name for name in _names(file) if name not in layout.tied):
                    # A copy, or the weights would stay mapped to a file that may be replaced.
                    state[layout.to_module_key(key)] = file.get_tensor(key).to(device=device, dtype=dtype, copy=True)
        except (SafetensorError, OSError) as error:
            raise _broken_shard(shard, error) from error
    return state


def _shard_files(folder: Path) -> list[Path]:
    index = folder / INDEX_FILE
    if not index.exists() and (folder / SINGLE_FILE).exists():
        return [folder / SINGLE_FILE]
    if not index.exists():
        raise CheckpointError(f"{folder} has neither {INDEX_FILE} nor {SINGLE_FILE}: copy the weights as well")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{index} has no table 'weight_map' of file names: copy it again from the source")
    if outside := sorted({name for name in weight_map.values() if not is_inside(name)}):
        raise CheckpointError(f"{index} names {outside[0]!r}, outside its folder: take a checkpoint from its source")
    shards = [folder / name for name in sorted(set(weight_map.values()))]
    for shard in shards:
        if not shard.is_file():
            raise CheckpointError(f"{shard} is missing, {INDEX_FILE} names it: copy all shards of the checkpoint")
    return shards


def _check_tensors(folder: Path, layout: Layout, expected: Mapping[str, list[int]], shards: list[Path]) -> None:
    """Compare names and shapes from the shards' headers alone."""
    found: dict[str, list[int]] = {}
    for shard in shards:
        try:
            with _opened(shard) as file:
                names = [key for key in _names(file) if key not in layout.tied]
                found |= {layout.to_module_key(key): file.get_slice(key).get_shape() for key in names}
        except (SafetensorError, OSError) as error:
            raise _broken_shard(shard, error) from error
    if missing := sorted(expected.keys() - found.keys()):
        raise CheckpointError(
            f"{folder} lacks {len(missing)} weights of this network, such as {_some(layout, missing)}: "
            "copy the checkpoint again, or give one whose config.json belongs to its weights"
        )
    if foreign := sorted(found.keys() - expected.keys()):
        raise CheckpointError(
            f"{folder} holds {len(foreign)} weights that {layout.generation} does not have, such as "
            f"{_some(layout, foreign)}: "
            "merge adapters first, or give a checkpoint whose config.json belongs to its weights"
        )
    for key, shape in expected.items():
        if found[key] != shape:
            absent = [name for name in layout.sizes if not (folder / name).exists()]
            assumed = f" (no {', '.join(absent)}: released sizes assumed)" if absent else ""
            raise CheckpointError(
                f"{folder}: {layout.to_checkpoint_key(key)} has shape {found[key]}, config says {shape}{assumed}: "
                f"use the {' and '.join(layout.sizes)} that were saved with these weights"
            )


def _opened(shard: Path) -> Any:
    check_regular(shard)
    return safe_open(shard, framework="pt")


def _names(file: Any) -> list[str]:
    return list(file.keys())  # an open safetensors file does not iterate


def _broken_shard(shard: Path, error: Exception) -> CheckpointError:
    size = shard.stat().st_size if shard.exists() else 0
    return CheckpointError(f"{shard} ({size} bytes) is truncated or not safetensors ({error}): copy it again")


def _some(layout: Layout, names: list[str]) -> str:
    return ", ".join(layout.to_checkpoint_key(name) for name in names[:2])


# -- writing ----------------------------------------------------------------------------------------------------------


def official_tensors(
    state: Mapping[str, Tensor], expected: Mapping[str, torch.Size], layout: Layout
) -> dict[str, Tensor]:
    """Official name -> tensor: the weights ``state`` by module name, and the tied ones that ``layout`` writes.

    Tensors are references to those of ``state``.

    Raises:
        CheckpointError: other weights than those ``expected`` of the network (adapters not merged).
    """
    shapes = {key: value.shape for key, value in state.items()}
    if shapes != expected:
        odd = sorted(shapes.keys() ^ expected.keys()) or sorted(k for k in expected if shapes[k] != expected[k])
        raise CheckpointError(
            f"the model is not a plain {layout.generation}, see {_some(layout, odd)}: merge adapters before saving"
        )
    tied = {name: state[source] for name, source in layout.tied.items()} if layout.writes_tied else {}
    whole = {**state, **tied}
    return {layout.to_checkpoint_key(key): whole[key].detach() for key in sorted(whole)}


def save_checkpoint(
    path: str | os.PathLike[str],
    layout: Layout,
    tensors: Mapping[str, Tensor],
    sizes: Mapping[str, Mapping[str, Any]],
    assets: Mapping[str, bytes],
) -> None:
    """Write a whole checkpoint folder, or leave everything as it was.

    An existing checkpoint at ``path`` is replaced; files in it that are no part of a checkpoint are kept.

    Args:
        path: The folder.
        layout: How it is laid out.
        tensors: The weights by official name, see :func:`official_tensors`.
        sizes: File name -> content of the files with the network's sizes.
        assets: File name -> content of what is saved beside the weights.

    Raises:
        CheckpointError: ``path`` holds something else, or cannot be written.
    """
    target = Path(path).expanduser().resolve()
    _check_target(target)
    staging: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target, "saving")
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.saving-", dir=target.parent))
        with held(staging):
            staging.chmod(0o755)  # mkdtemp makes it private, a checkpoint is not
            _keep_other_files(target, staging)
            _write_weights(staging, tensors, layout)
            for name, content in sizes.items():
                _write_json(staging / name, content)
            for name, content in assets.items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                (staging / name).write_bytes(content)
            _swap(staging, target)
        _remove_leftovers(target, "old")  # only now: it may have been the only copy
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write {target} ({error}): free space or choose another folder") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)  # already renamed away when all went well


def _remove_leftovers(target: Path, kind: str) -> None:
    """Remove the folders of saves to ``target`` that were killed: ".NAME.saving-…" or ".NAME.old-…"."""
    remove_leftovers(target.parent, f".{glob.escape(target.name)}.{kind}-*")


def _check_target(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target} is a file: choose a new folder to save to")
    if target.is_dir() and any(target.iterdir()) and not (target / CONFIG_FILE).is_file():
        raise CheckpointError(f"{target} holds files but no checkpoint: choose an empty or new folder to save to")


def _keep_other_files(target: Path, staging: Path) -> None:
    """Copy what is in ``target`` and is no part of a checkpoint."""
    ours = {name.split("/")[0] for name in CHECKPOINT_FILES}
    for entry in target.iterdir() if target.is_dir() else ():
        weights = entry.name.startswith("model") and entry.suffix == ".safetensors"
        if entry.name in ours or weights or _is_old_card(entry):
            continue
        if entry.is_dir():
            shutil.copytree(entry, staging / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, staging / entry.name, follow_symlinks=False)


def _is_old_card(entry: Path) -> bool:
    """Whether a file is a model card that an export wrote; one of the user's own is kept."""
    if entry.name != CARD_FILE or not entry.is_file():
        return False
    with entry.open("rb") as file:
        return CARD_MARK.encode() in file.read(1000).splitlines()


def _write_weights(folder: Path, tensors: Mapping[str, Tensor], layout: Layout) -> None:
    shards: list[list[str]] = [[]]
    size = 0
    for key, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > MAX_SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(key)
        size += tensor.nbytes
    weight_map = {}
    for number, keys in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        content = {key: tensors[key].to("cpu", copy=key in layout.tied).contiguous() for key in keys}
        save_file(content, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)  # safetensors makes it private
        weight_map |= dict.fromkeys(keys, name)
    total = sum(tensor.nbytes for tensor in tensors.values())
    _write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _swap(staging: Path, target: Path) -> None:
    """Put ``staging`` in the place of ``target``; put the old one back if that fails."""
    if not target.exists():
        staging.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent)) / target.name
    try:
        target.rename(old)
        try:
            staging.rename(target)
        except BaseException:
            old.rename(target)
            raise
    finally:
        if target.exists():  # never delete the only copy
            shutil.rmtree(old.parent, ignore_errors=True)
