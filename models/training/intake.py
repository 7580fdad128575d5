"""What a training run takes in: checked pictures, and what the bundle says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from models.dataset.checking import Dataset, check
from models.dataset.manifest import DataManifest
from models.evaluation.pictures import Item, index
from models.recipes import Finetune, Frozen
from models.training import variants
from models.training.pictures import Archive, gather
from models.training.progress import Listener


@dataclass(frozen=True, slots=True, eq=False)
class Intake:
    """Pictures that are fit to train on: as the check left them, and read into memory in the same order."""

    dataset: Dataset
    archives: list[Archive]

    @property
    def items(self) -> list[Item]:
        """All pictures."""
        return [item for archive in self.archives for item in archive.items]


def take_in(
    data: Sequence[Path], recipe: Frozen | Finetune, *, parent: DataManifest | None, listener: Listener
) -> Intake:
    """Checks labelled pictures and reads those that are kept.

    Args:
        data: Zips and folders in ImageFolder layout.
        recipe: States the limits, and whether pictures are degraded before a network sees them.
        parent: The manifest of the data that these grew out of.
        listener: Is told what is going on.

    Raises:
        ConfigurationError: The pictures cannot be read, or are not fit to train on; the message gives every reason.
    """
    told: dict[str, int] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if stage not in told:
            listener.begin(stage, total)
        listener.advance(done - told.get(stage, 0))
        told[stage] = done

    degraded = isinstance(recipe, Frozen) or recipe.augmentation.kind == "delivery"
    delivered = partial(variants.encoded, size=recipe.crop) if degraded else None
    dataset = check(index(data), recipe.checks, delivered=delivered, parent=parent, advance=advance)
    for line in dataset.report.warnings:
        listener.say(line)
    dataset.refuse()
    for reason, count in dataset.report.dropped.items():
        listener.say(f"left out: {count} {reason.replace('_', ' ')}")
    return Intake(dataset, gather(dataset.collections))
