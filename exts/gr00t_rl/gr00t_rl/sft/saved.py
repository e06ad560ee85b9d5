# SPDX-License-Identifier: BSD-3-Clause
"""A training's state on disk, from which the same command goes on after an interruption."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..utils.errors import ConfigurationError, first_line
from ..utils.foreign_files import check_regular
from ..utils.whole_files import partial_of, remove_leftovers, whole_file
from .training import Training


@dataclass
class SavedTraining:
    """The state of a training on disk, whole or not there, for as long as its checkpoint is not written."""

    file: Path
    settings: dict[str, Any]
    """What the training was asked to do; another one's state is refused."""
    interval: int
    """Steps between two saves."""
    data: str
    """Digest of the demonstrations: with others, the scaling and the held-out frames are others."""

    def save(self, training: Training, curve: list[dict[str, Any]], recent: list[torch.Tensor]) -> None:
        """Replace the file, with the loss curve and the losses since its last point."""
        content = {"settings": self.settings, "data": self.data, "training": training.state_dict()}
        content |= {"curve": curve, "recent": recent}
        with whole_file(self.file) as file:  # straight to the disk: at full size a copy in memory would be 16 GB
            torch.save(content, file)

    def remove(self) -> None:
        """Remove the file, and one that was left half written."""
        self.file.unlink(missing_ok=True)
        remove_leftovers(self.file.parent, glob.escape(partial_of(self.file).name))

    def load(self, training: Training) -> tuple[list[dict[str, Any]], list[torch.Tensor]]:
        """Go on with what the file holds, if there is one; returns the curve and the losses since its last point.

        Raises:
            ConfigurationError: The file is of another training, or is none.
        """
        if not self.file.exists():
            return [], []
        try:
            check_regular(self.file)
            content = torch.load(self.file, map_location="cpu", weights_only=True)
            found, curve, recent = dict(content["settings"]), list(content["curve"]), list(content["recent"])
        except Exception as error:
            raise ConfigurationError(f"{self.file} cannot be read ({type(error).__name__}); remove it") from None
        for name, value in self.settings.items():
            if name != "save_interval" and found.get(name) != value:
                raise ConfigurationError(
                    f"{self.file} is of a run with --{name} {found.get(name)}, this one has {value}; give the same "
                    "settings to go on with it, or remove it"
                )
        if content.get("data") != self.data:
            raise ConfigurationError(
                f"{self.file} is of a run on other demonstrations (the dataset has changed), or of an earlier version; "
                "remove it to begin anew"
            )
        try:
            training.load_state_dict(content["training"])
        except Exception as error:  # whatever torch makes of another network's state
            reason = first_line(error, 160)
            raise ConfigurationError(f"{self.file} does not fit this training ({reason}); remove it") from None
        print(f"going on at step {training.step} from {self.file}")
        return curve, [loss.to(training.trainer.samples.device) for loss in recent]
