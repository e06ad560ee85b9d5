# SPDX-License-Identifier: BSD-3-Clause
"""Whether a policy is run as it was trained: by the files of its weights, and by what a run's checkpoint remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .checkpoint import SETTINGS_FILE
from .modality import Modality
from .settings import PolicySettings, first_difference

if TYPE_CHECKING:
    from .processor import Gr00tProcessor  # loads transformers

_COUNTS = ("n_action_steps", "num_inference_timesteps")


# -- base weights ------------------------------------------------------------------------------------------------------


def readable_settings(assets: Mapping[str, bytes]) -> PolicySettings | None:
    """How the policy of a checkpoint was run; None if no file says so, or one that whoever needs it complains of."""
    try:
        return PolicySettings.read(assets)
    except ValueError:
        return None


def check_base(assets: Mapping[str, bytes], modality: Modality | None, embodiment_id: int) -> None:
    """Compare row and modality with those that the weights were trained with, where a file of ours says so.

    Another embodiment than that of the file is nothing that the file tells of.

    Args:
        assets: Files of the base weights.
        modality: That of the run; None: the env's groups as they are.
        embodiment_id: Row of the per-embodiment weights.

    Raises:
        ValueError: What differs first; the message starts with the setting of the actor.
    """
    settings = readable_settings(assets)
    if settings is None or (modality is not None and modality.embodiment_tag != settings.modality.embodiment_tag):
        return
    settings.check(modality, embodiment_id)


def trained_row(of: type[Gr00tProcessor], assets: Mapping[str, bytes], tag: str) -> int | None:
    """Return the row that the files of base weights say of an embodiment, NVIDIA's or ours; None where none does.

    Args:
        of: Processor of the generation.
        assets: Files of the base weights.
        tag: Name of the embodiment.
    """
    row, settings = of.known_embodiment(assets, tag).row, readable_settings(assets)
    if row is None and settings is not None and settings.modality.embodiment_tag == tag:
        row = settings.embodiment_id
    return row


def unusual(
    of: type[Gr00tProcessor], assets: Mapping[str, bytes], embodiments: int, modality: Modality, embodiment_id: int
) -> list[str]:
    """Return what a run does otherwise than NVIDIA's programs, of what no file of the weights says: a line each.

    Args:
        of: Processor of the generation.
        assets: Files of the base weights.
        embodiments: Rows of their per-embodiment weights.
        modality: That of the run.
        embodiment_id: Its row.
    """
    if SETTINGS_FILE in assets:
        return []
    tag, lines = modality.embodiment_tag, []
    usual = of.usual_embodiment(tag, embodiments)
    if usual.row not in (None, embodiment_id):
        lines.append(
            f"agent.actor.embodiment_id is {embodiment_id}, but NVIDIA's programs train and run {tag!r} with "
            f"{usual.row}, and no file of the checkpoint says another row; set {usual.row}, unless you trained "
            f"{embodiment_id}"
        )
    if usual.video_crop is not None and modality.video and modality.video_crop == 1:
        lines.append(
            "no file of the checkpoint says how its pictures were cut, and agent.actor.modality.video_crop is "
            f"{modality.video_crop}; set agent.actor.modality.video_crop={usual.video_crop} if NVIDIA's data configs "
            "trained it, as nearly all of them cut"
        )
    return lines


# -- a run's checkpoint ------------------------------------------------------------------------------------------------


def remembered(
    modality: Modality | None, embodiment_id: int, instructions: list[str], counts: Mapping[str, int]
) -> dict[str, Any]:
    """Return what a run's checkpoint keeps of how its policy is run, in plain types.

    Args:
        modality: The run's; None: the env's groups as they are.
        embodiment_id: Row of the per-embodiment weights.
        instructions: As the network hears them.
        counts: ``n_action_steps`` and ``num_inference_timesteps``.
    """
    return {
        "modality": None if modality is None else asdict(modality),
        "embodiment_id": int(embodiment_id),
        "instructions": [str(text) for text in instructions],
        **{name: int(counts[name]) for name in _COUNTS},
    }


def check_remembered(base: Mapping[str, Any], modality: Modality | None, embodiment_id: int) -> None:
    """Refuse what no policy survives: another row of the weights, and other keys, scaling or crops.

    What a checkpoint from before this does not remember is not compared.

    Args:
        base: What :func:`remembered` returned, of the checkpoint.
        modality: That of the policy which is to load it.
        embodiment_id: Its row.

    Raises:
        ValueError: What differs first; the message starts with the setting of the actor.
    """
    row = base.get("embodiment_id", embodiment_id)
    if row != embodiment_id:
        raise ValueError(f"embodiment_id is {embodiment_id}, but the checkpoint was trained with {row}; set that")
    if "modality" not in base:
        return
    if (base["modality"] is None) != (modality is None):
        given, trained = ("null", "with") if modality is None else ("given", "without")
        raise ValueError(f"modality is {given}, but the checkpoint was trained {trained} one; set it as in training")
    if modality is None:
        return
    try:
        known = Modality.from_dict(base["modality"])
    except ValueError as error:
        raise ValueError(
            f"modality cannot be compared with the checkpoint's own ({error}); pass an earlier model_*.pt of the run"
        ) from None
    if (found := first_difference(modality, known)) is not None:
        name, given, trained = found
        raise ValueError(f"modality.{name} is {given!r}, but the checkpoint was trained with {trained!r}; set that")


def other_settings(base: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return in one line what a policy survives, but was not trained with; None where nothing differs.

    Args:
        base: What :func:`remembered` returned, of the checkpoint.
        now: The same of the policy that loads it.
    """
    found = [
        f"agent.actor.{name} is {now[name]}, in training {base[name]}"
        for name in _COUNTS
        if base.get(name, now[name]) != now[name]
    ]
    texts = base.get("instructions", now["instructions"])
    if unheard := [text for text in now["instructions"] if text not in texts]:
        found.append(f"it is told {unheard[0]!r}, in training {' or '.join(map(repr, texts[:3]))}")
    return f"the checkpoint was trained otherwise: {'; '.join(found)}" if found else None
