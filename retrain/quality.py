"""Whether labelled pictures are fit to learn from: what refuses a job, and what is only said, both in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from models.dataset.policy import Policy
from models.dataset.survey import Survey, silent
from models.evaluation.pictures import Collection
from stream.errors import DatasetUnfit

_NAMES = {"ai_generated": "machine-made", "authentic": "authentic"}
_SMALLER_CLASS = 0.1


@dataclass(frozen=True, slots=True)
class Needs:
    """Pictures of each class that a job must have: to learn from, and to be judged by."""

    learn: int
    slice: int


def refuse(reasons: Sequence[str]) -> None:
    """Raises one error of every reason; none where there is none.

    Raises:
        DatasetUnfit: There is a reason.
    """
    if reasons:
        remedy = "Have more uploads labelled, by more people, of both classes"
        raise DatasetUnfit("; ".join(reasons), where="labelled pictures", remedy=remedy)


def shortage(classes: Mapping[str, int], needs: Needs, which: str) -> list[str]:
    """What is missing of each class before anything is held out."""
    fewest = needs.learn + needs.slice
    return [
        f"{classes.get(label, 0)} {name} pictures {which}, fewer than {fewest}"
        for label, name in _NAMES.items()
        if classes.get(label, 0) < fewest
    ]


def findings(parts: Mapping[str, Mapping[str, int]], needs: Needs, counts: Mapping[str, int]) -> list[str]:
    """Everything that refuses the set: too few of a class on a side, or nearly nothing of one."""
    reasons = []
    for part, what, fewest in (("learn", "to learn from", needs.learn), ("slice", "to be judged by", needs.slice)):
        classes = parts[part]
        for label, name in _NAMES.items():
            if classes.get(label, 0) < fewest:
                reasons.append(f"{classes.get(label, 0)} {name} pictures {what}, fewer than {fewest}")
    total, least = sum(parts["learn"].values()), min((parts["learn"].get(label, 0) for label in _NAMES), default=0)
    if not reasons and least < _SMALLER_CLASS * total:
        reasons.append(
            f"the smaller class has {least} of {total} pictures to learn from, less than {_SMALLER_CLASS:.0%}"
        )
    if reasons and counts.get("over_a_persons_share"):
        reasons.append(
            f"{counts['over_a_persons_share']} pictures were left out because too much would rest on one person's word"
        )
    return reasons


def warnings(counts: Mapping[str, int], policy: Policy) -> list[str]:
    """What a person should look at, though the job goes on."""
    found = max(counts.get("found", 0), 1)
    lines = []
    for limit, fates, what in (
        (policy.unreadable, ("unreadable",), "cannot be decoded"),
        (policy.tiny, ("tiny",), "are too small"),
        (policy.duplicates, ("duplicate", "near_duplicate"), "repeat another one"),
        (policy.conflicts, ("conflict",), "were labelled both ways, and left out"),
    ):
        count = sum(counts.get(fate, 0) for fate in fates)
        if count > limit * found:
            lines.append(f"{count} of {found} labelled pictures {what}, more than {limit:.0%}")
    return lines


def leaks(seen: Survey, places: Sequence[int], collection: Collection, policy: Policy) -> list[str]:
    """Asks whether width, height, format and quality alone tell the classes apart (`models.dataset.probe`).

    It warns and does not refuse: unlike a training set, live traffic of two kinds differs in these, and an adapted
    model sees neither of them. Without scikit-learn nothing is asked.

    Args:
        seen: All pictures.
        places: Which of them are kept, in order.
        collection: All pictures, as they were read.
        policy: The limits.
    """
    try:
        from models.dataset.probing import probes  # noqa: PLC0415  scikit-learn is an extra of its own
    except ModuleNotFoundError as error:
        return [f"{error.name} is not installed, so nothing is known about a leak"]
    remaining = replace(collection, entries=tuple(collection.entries[place] for place in places))
    probe = probes(seen, places, [remaining], policy, delivered=None, advance=silent)["found"]
    if probe.outcome != "leak":
        return []
    return [
        f"width, height, format and quality alone tell the classes apart: balanced accuracy "
        f"{probe.balanced_accuracy:.3f}, mostly by {probe.told_by}"
    ]
