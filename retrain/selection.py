"""Which labelled uploads a job takes: the labels that count, the newest first, frozen before any picture is read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from retrain.labels import Origin, rule
from retrain.ledger import Case
from retrain.reliability import reliabilities
from stream.events import ImageClaim, Position, TruthName


class Frozen(BaseModel):
    """A part of what a job writes down."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Chosen(Frozen):
    """One labelled upload; ``owner`` is a hash of the one person on whose word the label rests.

    The upload lies at ``upload_at``, and a copy of its picture at ``kept``, where one was made.
    """

    upload_id: str
    tenant: str
    upload_at: Position | None
    kept: ImageClaim | None = None
    label: TruthName
    weight: float
    origin: Origin
    owner: str | None
    label_ids: tuple[str, ...]


class Selection(Frozen):
    """What was chosen, the newest first, and what became of the other labels.

    Attributes:
        chosen: Uploads to learn from or to be judged by.
        counts: Uploads by fate: ``chosen``, ``unverified``, ``contradictory``, ``untrusted``, ``left_over``; and
            ``overruled``, the labels of people whom others overruled.
        trust: What each person's word is worth, by hash of the person.
    """

    chosen: tuple[Chosen, ...]
    counts: dict[str, int]
    trust: dict[str, float]


def select(cases: Iterable[Case], *, most: int) -> Selection:
    """Rules on every upload and keeps the newest, at most half of ``most`` of each class.

    Args:
        cases: Labelled uploads, the newest first, as `retrain.ledger.Ledger.labelled` yields them.
        most: Uploads to take at most.
    """
    everything = list(cases)
    known = reliabilities(case.opinions for case in everything)
    trust = {person: found.trust for person, found in known.items()}
    room: Counter[TruthName] = Counter({"ai_generated": most - most // 2, "authentic": most // 2})
    counts: Counter[str] = Counter()
    chosen: list[Chosen] = []
    for case in everything:
        ruling = rule(case.opinions, trust)
        if isinstance(ruling, str):
            counts[ruling] += 1
            continue
        counts["overruled"] += ruling.overruled
        if not room[ruling.label]:
            counts["left_over"] += 1
            continue
        room[ruling.label] -= 1
        counts["chosen"] += 1
        chosen.append(
            Chosen(
                upload_id=case.upload_id, tenant=case.tenant, upload_at=case.upload_at, kept=case.kept,
                label=ruling.label,
                weight=round(ruling.weight, 6), origin=ruling.origin,
                owner=None if ruling.owner is None else hashed(ruling.owner), label_ids=ruling.label_ids,
            )
        )  # fmt: skip
    return Selection(
        chosen=tuple(chosen),
        counts=dict(sorted(counts.items())),
        trust={hashed(person): round(worth, 4) for person, worth in trust.items()},
    )


def hashed(person: str) -> str:
    """Stands for a person where the name is nobody's business."""
    return hashlib.sha256(f"reviewer\n{person}".encode()).hexdigest()[:16]
