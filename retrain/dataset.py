"""From labelled pictures to two zips: what a challenger learns from, and what it is judged by and never sees.

Sides are drawn by hashing a picture's content with a seed that never changes, so a picture that was held out of one job
is held out of every later one. What nearly repeats another picture is left out first (`models.dataset.sorting`), so
nothing is on both sides. On either side nobody's word counts more than its share (`retrain.reliability`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.dataset.policy import Policy
from models.dataset.sorting import sort_out
from models.dataset.splits import held_out
from models.dataset.survey import Survey, survey
from models.evaluation.pictures import Collection, index
from retrain import quality
from retrain.manifest import Part, Picture
from retrain.pictures import Found
from retrain.quality import Needs
from retrain.reliability import count_limit, weight_limit
from retrain.selection import Chosen

SPLIT_SEED = 20
_POLICY = Policy()
LABELS = {"ai_generated": "fake", "authentic": "real"}
_MAGIC = {b"\x89PNG": ".png", b"RIFF": ".webp", b"GIF8": ".gif"}
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9._-]+")
_PARTS: tuple[Part, Part] = ("learn", "slice")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The two zips, what is in them, and what was found; ``counts`` by fate."""

    learn: bytes
    slice: bytes
    pictures: tuple[Picture, ...]
    counts: dict[str, int]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A picture on its way into a zip."""

    chosen: Chosen
    data: bytes
    path: str
    sha256: str
    weight: float


def build(
    chosen: Sequence[Chosen],
    found: Iterable[Found],
    *,
    job_id: str,
    needs: Needs,
    share: float,
    reviewer_share: float,
    policy: Policy = _POLICY,
    never: Container[str] = frozenset(),
) -> Dataset:
    """Builds the dataset; equal pictures and labels give equal bytes, in whatever order they come.

    Args:
        chosen: The labels that count.
        found: Their pictures, as many as are still there.
        job_id: Tells this job's sources from those of others, so that the replay keeps some of each.
        needs: The fewest pictures.
        share: Of the pictures held out.
        reviewer_share: Most that one person's word may count.
        policy: What is left out.
        never: SHA-256 of pictures that must not be learned from, such as the golden ones.

    Raises:
        DatasetUnfit: There is too little to learn from or to be judged by; the message gives every reason.
    """
    labels = {one.upload_id: one for one in chosen}
    counts: Counter[str] = Counter()
    kept: list[_Kept] = []
    for picture in sorted(found, key=lambda one: one.upload_id):
        digest = hashlib.sha256(picture.data).hexdigest()
        if digest in never:
            counts["golden"] += 1
            continue
        one = labels[picture.upload_id]
        kept.append(_Kept(one, picture.data, _path(one, picture.data, job_id), digest, one.weight))
    counts["found"] = len(kept)
    quality.refuse(quality.shortage(_classes(kept), needs, "that can be read again"))
    with TemporaryDirectory(prefix="veristream-") as folder:
        seen, remaining, kept = _sorted_out(Path(folder), kept, policy, counts)
        warnings = quality.leaks(seen, remaining, policy)
    sides = _split(kept, share)
    parts = {part: _capped(side, reviewer_share) for part, side in sides.items()}
    counts["over_a_persons_share"] = len(kept) - sum(map(len, parts.values()))
    counts |= Counter({part: len(members) for part, members in parts.items()})
    quality.refuse(quality.findings({part: _classes(members) for part, members in parts.items()}, needs, counts))
    return Dataset(
        learn=_zipped(parts["learn"]),
        slice=_zipped(parts["slice"]),
        pictures=tuple(_described(one, part) for part in _PARTS for one in parts[part]),
        counts=dict(sorted(counts.items())),
        warnings=(*quality.warnings(counts, policy), *warnings),
    )


def _path(one: Chosen, data: bytes, job_id: str) -> str:
    suffix = next((suffix for magic, suffix in _MAGIC.items() if data.startswith(magic)), ".jpg")
    tenant = _NOT_IN_A_NAME.sub("-", one.tenant.lower()).strip(".-")[:40] or "tenant"
    name = hashlib.sha256(one.upload_id.encode()).hexdigest()[:24]
    return f"{LABELS[one.label]}/{tenant}-{job_id[:8]}/{name}{suffix}"


def _sorted_out(
    folder: Path, kept: Sequence[_Kept], policy: Policy, counts: Counter[str]
) -> tuple[Survey, tuple[list[int], Collection], list[_Kept]]:
    path = folder / "labelled.zip"
    path.write_bytes(_zipped(kept))
    (collection,) = index([path])
    seen = survey([collection])
    dropped = sort_out(seen, policy)
    counts.update(one.reason for one in dropped.values())
    places = [place for place in range(len(seen.pictures)) if place not in dropped]
    remaining = replace(collection, entries=tuple(collection.entries[place] for place in places))
    by_path = {one.path: one for one in kept}
    # The probe reads the pictures again, so the zip must outlive this call: it is the caller's folder.
    return seen, (places, remaining), [by_path[entry.path] for entry in remaining.entries]


def _split(kept: Sequence[_Kept], share: float) -> dict[Part, list[_Kept]]:
    groups = np.array([f"sha256:{one.sha256}" for one in kept], np.str_)
    out = held_out(groups, share, seed=SPLIT_SEED) if kept else np.zeros(0, bool)
    return {
        "learn": [one for one, held in zip(kept, out, strict=True) if not held],
        "slice": [one for one, held in zip(kept, out, strict=True) if held],
    }


def _capped(side: Sequence[_Kept], share: float) -> list[_Kept]:
    """The side with at most ``share`` of its pictures, and of their weight, resting on one person's word."""
    owned = Counter(one.chosen.owner for one in side if one.chosen.owner is not None)
    limit = count_limit(owned, sum(one.chosen.owner is None for one in side), share)
    taken: Counter[str] = Counter()
    kept = []
    # Which of a person's pictures are kept is drawn by content, so that nobody can choose it.
    for one in sorted(side, key=lambda one: one.sha256):
        owner = one.chosen.owner
        if owner is None or taken[owner] < limit:
            kept.append(one)
        if owner is not None:
            taken[owner] += 1
    weights: dict[str, float] = {}
    for one in kept:
        if one.chosen.owner is not None:
            weights[one.chosen.owner] = weights.get(one.chosen.owner, 0.0) + one.weight
    most = weight_limit(weights, sum(one.weight for one in kept if one.chosen.owner is None), share)
    scale = {owner: min(1.0, most / weight) for owner, weight in weights.items()}
    lighter = [
        one if one.chosen.owner is None else replace(one, weight=round(one.weight * scale[one.chosen.owner], 6))
        for one in kept
    ]
    return sorted((one for one in lighter if one.weight > 0), key=lambda one: one.path)


def _classes(members: Iterable[_Kept]) -> Mapping[str, int]:
    return Counter(one.chosen.label for one in members)


def _zipped(members: Sequence[_Kept]) -> bytes:
    """The layout of `models.evaluation.pictures`, stored and undated: equal members give equal bytes."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["file", "weight", "origin"])
    rows.writerows([one.path, f"{one.weight:.6f}", one.chosen.origin] for one in members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("metadata.csv"), table.getvalue())
        for one in members:
            archive.writestr(zipfile.ZipInfo(one.path), one.data)
    return buffer.getvalue()


def _described(one: _Kept, part: Part) -> Picture:
    chosen = one.chosen
    return Picture(
        upload_id=chosen.upload_id, upload_at=chosen.upload_at, path=one.path, sha256=one.sha256, label=chosen.label,
        part=part, weight=one.weight, origin=chosen.origin, label_ids=chosen.label_ids,
    )  # fmt: skip
