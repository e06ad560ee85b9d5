# SPDX-License-Identifier: BSD-3-Clause
"""The model card of an exported policy: what it does, how well, from what, and how to run it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..gr00t.checkpoint import CARD_MARK
from ..gr00t.settings import PolicySettings
from .success import Success

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""A model on the hub, as ORG/NAME."""


@dataclass(frozen=True)
class Facts:
    """What a card tells."""

    name: str
    """Of the policy: its folder's."""
    generation: str
    """ "n1.5" or "n1.7"."""
    parameters: int
    dtype: str
    """On disk."""
    base: str
    """What the run started from: a hub id, a folder's name or "tiny"."""
    base_on_hub: bool
    """Whether it is a hub id."""
    fingerprint: str
    """SHA-256 of the base weights."""
    task: str | None
    """Task id; None where the run does not say."""
    settings: PolicySettings | None
    """None for a run without a modality."""
    training: dict[str, Any] = field(default_factory=dict)
    """Name -> value of the settings that matter."""
    success: list[Success] = field(default_factory=list)
    """Base weights first."""


def model_card(facts: Facts) -> str:
    """Return the card in Markdown, with the front matter that the hub reads."""
    parts = [
        f"---\n{yaml.safe_dump(front_matter(facts), sort_keys=False)}---",
        f"# {facts.name}",
        _summary(facts),
        _success(facts),
        _input_output(facts),
        _training(facts),
        _use(facts),
        _licence(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def front_matter(facts: Facts) -> dict[str, Any]:
    """Return what the hub reads of a card."""
    content: dict[str, Any] = {**yaml.safe_load(CARD_MARK), "pipeline_tag": "robotics"}
    content["tags"] = ["robotics", "gr00t", f"gr00t-{facts.generation}", "reinforcement-learning", "isaac-lab"]
    if facts.base_on_hub:  # the hub refuses folders
        content |= {"base_model": facts.base, "base_model_relation": "finetune"}
    return content | {"license": "other", "license_name": "as-base-weights"}


def _summary(facts: Facts) -> str:
    told = facts.settings.instructions if facts.settings else []
    texts = "".join(f"\n- {text}" for text in told)
    task = f" the task `{facts.task}` in" if facts.task else ""
    return (
        f"GR00T {facts.generation.upper()}, {facts.parameters / 1e6:,.1f} M parameters in {facts.dtype}, fine-tuned by "
        f"reinforcement learning on{task} Isaac Lab with `gr00t_rl`. It was trained in simulation; nothing here says "
        f"how it does on a real robot.{chr(10) * 2 + 'What it was told:' + chr(10) + texts if texts else ''}"
    )


def _success(facts: Facts) -> str:
    if not facts.success:
        return (
            "## Success\n\nNot evaluated. `gr00t-rl evaluate --task TASK --checkpoint FOLDER` measures it; the next "
            "export of the run then tells it."
        )
    rows = "\n".join(f"| {entry.what} | {entry.text} | {entry.how} |" for entry in facts.success)
    return (
        "## Success\n\nShare of the episodes in simulation that succeeded, with its 95 % Wilson interval.\n\n"
        f"| | success | how |\n|---|---|---|\n{rows}"
    )


def _input_output(facts: Facts) -> str:
    if facts.settings is None:
        return ""
    settings, modality = facts.settings, facts.settings.modality
    rows = []
    for name in modality.video:
        size = " × ".join(map(str, settings.image_sizes[name])) if name in settings.image_sizes else "any size"
        rows.append(f"| `video.{name}` | RGB picture, 8 bits, {size} | |")
    rows += [f"| `state.{n}` | {_numbers(key.dim)} | {_mode(key.mode)} |" for n, key in modality.state.items()]
    rows += [
        f"| `action.{n}` | {_numbers(key.dim)}{'' if key.absolute else ', a change'} | {_mode(key.normalization)} |"
        for n, key in modality.action.items()
    ]
    rate = f", at {settings.control_hz:g} Hz" if settings.control_hz else ""
    steps = f" {settings.n_action_steps} of them are executed before the next decision{rate}."
    return (
        f"## Input and output\n\n| key | what | normalised |\n|---|---|---|\n{chr(10).join(rows)}\n\nA decision is a "
        f"chunk of actions.{steps if settings.n_action_steps else ''} Embodiment `{modality.embodiment_tag}`, row "
        f"{settings.embodiment_id} of the per-embodiment weights."
    )


def _numbers(count: int) -> str:
    return "1 number" if count == 1 else f"{count} numbers"


def _mode(mode: str | None) -> str:
    return "no" if mode is None else mode


def _training(facts: Facts) -> str:
    rows = [("base weights", f"`{facts.base}`"), ("their fingerprint (SHA-256)", f"`{facts.fingerprint}`")]
    rows += [(name, f"`{value}`") for name, value in facts.training.items()]
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"## Training\n\n| | |\n|---|---|\n{lines}"


def _use(facts: Facts) -> str:
    steps = facts.settings.num_inference_timesteps if facts.settings else None
    serve = (
        "Serve it to a robot, in the protocol of NVIDIA's inference services:\n\n```bash\npip install "
        "'gr00t_rl[serve]'\ngr00t-rl serve --checkpoint FOLDER\n```\n\n"
        if facts.settings
        else ""
    )
    released = {
        "n1.5": (
            "NVIDIA's N1.5 code: `Gr00tPolicy(model_path=FOLDER, ...)` with a data config that has the keys above, in "
            "this order, normalised as above. LeRobot: `--policy.type=groot --policy.base_model_path=FOLDER`"
        ),
        "n1.7": (
            "NVIDIA's N1.7 code: `Gr00tPolicy(model_path=FOLDER, ...)` reads keys and normalisation from the folder. "
            "LeRobot: as the base model of its GR00T policy"
        ),
    }[facts.generation]
    return (
        f"## Use\n\n{serve}In Python, which needs neither Isaac Lab nor a simulator:\n\n```python\nfrom gr00t_rl.gr00t "
        'import from_pretrained\n\nmodel = from_pretrained("FOLDER")\n```\n\nThe folder is in the official layout. '
        f"{released}.{f' Set {steps} denoising steps, as in training.' if steps else ''}"
    )


def _licence(facts: Facts) -> str:
    return (
        "## Licence\n\nThe licence of the base weights holds for these weights. NVIDIA's GR00T weights carry NVIDIA's "
        "own licence: read it where you got them before you use or share what was made of them."
    )
