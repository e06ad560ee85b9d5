# SPDX-License-Identifier: BSD-3-Clause
"""What of the network is trained: in full, by LoRA adapters, or not at all; and the table that says so."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ..gr00t import Gr00tNetwork
from ..gr00t.part_names import is_adapter
from ..gr00t.parts import part_parameters

OFF, LORA, FULL = "off", "lora", "full"


def make_trainable(
    model: Gr00tNetwork, train: Mapping[str, str], rank: int, alpha: float
) -> dict[str, list[nn.Parameter]]:
    """Freeze all but the chosen parts of a network.

    What is trained becomes float32, and what is frozen keeps its type.

    Args:
        model: The network; changed in place.
        train: Part -> "off", "lora" or "full", see :data:`~gr00t_rl.gr00t.part_names.PARTS`; off where not named.
        rank: See :func:`~gr00t_rl.gr00t.adapters.add_adapters`.
        alpha: See there.

    Returns:
        The trained parameters of each part that has any, in the order of a forward pass.
    """
    adapted = [part for part, how in train.items() if how == LORA]
    if adapted:
        from ..gr00t.adapters import add_adapters  # loads peft, which takes a second

        add_adapters(model, adapted, rank, alpha)
    model.requires_grad_(False)
    trained: dict[str, list[nn.Parameter]] = {}
    for part, parameters in part_parameters(model).items():
        how = train.get(part, OFF)
        chosen = [p for name, p in parameters.items() if how == FULL or (how == LORA and is_adapter(name))]
        for parameter in chosen:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        if chosen:
            trained[part] = chosen
    return trained


def merge_adapters(model: nn.Module) -> None:
    """Add the adapters to the weights, see :func:`gr00t_rl.gr00t.adapters.merge_adapters`."""
    from ..gr00t import adapters  # loads peft

    adapters.merge_adapters(model)


def describe_parts(model: Gr00tNetwork, train: Mapping[str, str]) -> str:
    """Return a table of the parts: parameters, how and how many of them are trained, types and bytes."""
    rows = [("part", "parameters", "train", "trained", "type", "MiB")]
    known = part_parameters(model)
    inside = {id(p) for parameters in known.values() for p in parameters.values()}
    parts = {part: list(parameters.values()) for part, parameters in known.items()}
    parts["unused"] = [p for p in model.parameters() if id(p) not in inside]
    parts["all"] = list(model.parameters())
    for part, parameters in parts.items():
        types = sorted({str(p.dtype).removeprefix("torch.") for p in parameters})
        size = sum(p.numel() * p.element_size() for p in parameters)
        rows.append(
            (
                part,
                _millions(parameters),
                train.get(part, "" if part == "all" else OFF),
                _millions([p for p in parameters if p.requires_grad]),
                ", ".join(types),
                f"{size / 2**20:,.1f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) if i in (1, 3, 5) else cell.ljust(width) for i, (cell, width) in line).rstrip()
        for line in (enumerate(zip(row, widths, strict=True)) for row in rows)
    )


def _millions(parameters: list[nn.Parameter]) -> str:
    return f"{sum(p.numel() for p in parameters) / 1e6:,.2f} M"
