# SPDX-License-Identifier: BSD-3-Clause
"""Writing ``experiment_cfg/metadata.json``, where N1.5's checkpoints keep the statistics of their embodiments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .modality import ActionKey, Modality, Statistics, check_stats, parse_metadata
from .normalise import STATISTICS


def make_metadata(
    modality: Modality,
    statistics: Statistics,
    image_sizes: Mapping[str, tuple[int, int]],
    fps: float,
) -> dict[str, Any]:
    """Return the content of ``experiment_cfg/metadata.json`` for one embodiment, ready for JSON.

    Args:
        modality: The embodiment's keys.
        statistics: Of all state and action keys, every name in ``STATISTICS``, in the units of the env.
        image_sizes: (height, width) of each of the embodiment's cameras [px].
        fps: Frames per second, which is the control rate.

    Raises:
        ValueError: A key whose statistics are missing, incomplete or of another width.
    """
    sizes = {key: image_sizes[key] for key in modality.video}
    modalities: dict[str, Any] = {
        "video": {
            key: {"resolution": [width, height], "channels": 3, "fps": fps} for key, (height, width) in sizes.items()
        }
    }
    tables: dict[str, Any] = {}
    for part, keys, found in (
        ("state", modality.state, statistics.state),
        ("action", modality.action, statistics.action),
    ):
        for name, key in keys.items():
            check_stats(f"{part}.{name}", key, found.get(name), sorted(found), STATISTICS)
        tables[part] = {name: {stat: found[name][stat].tolist() for stat in STATISTICS} for name in keys}
        modalities[part] = {
            name: {
                "absolute": key.absolute if isinstance(key, ActionKey) else True,
                "rotation_type": None,
                "shape": [key.dim],
                "continuous": key.normalization != "binary",
            }
            for name, key in keys.items()
        }
    tag = modality.embodiment_tag
    return {tag: {"statistics": tables, "modalities": modalities, "embodiment_tag": tag}}


def metadata_with(
    before: bytes | None,
    modality: Modality,
    statistics: Statistics,
    image_sizes: Mapping[str, tuple[int, int]],
    fps: float,
) -> bytes:
    """Return the content of ``experiment_cfg/metadata.json`` with an embodiment in it; others stay as ``before``."""
    ours = make_metadata(modality, statistics, image_sizes, fps)
    return (json.dumps(parse_metadata(before or b"{}") | ours, indent=2) + "\n").encode()
