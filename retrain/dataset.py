"""From labelled pictures to two zips: what a challenger learns from, and what it is judged by and never sees.

Sides are drawn by hashing a picture's content with a seed that never changes, so a picture that was held out of one job
is held out of every later one. Of pictures of one label that are nearly the same the largest is kept; a picture and its
machine-made twin are both kept, on one side. On either side nobody's word counts more than its share
(`retrain.reliability`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.dataset.policy import Policy
from models.dataset.sorting import families
from models.dataset.splits import held_out
from models.dataset.survey import Found as Look
from models.dataset.survey import Survey, survey
from models.evaluation.pictures import index
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


@dataclass(frozen=True, slots=True, eq=False)
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
        path = Path(folder) / "labelled.zip"
        path.write_bytes(_zipped(kept))
        (collection,) = index([path])
        seen = survey([collection])
        groups = _sorted_out(seen, policy, counts)
        warnings = quality.leaks(seen, sorted(groups), collection, policy)
    by_path = {one.path: one for one in kept}
    sides = _split({by_path[seen.pictures[place].entry.path]: group for place, group in groups.items()}, share)
    parts = {part: _capped(side, reviewer_share) for part, side in sides.items()}
    counts["over_a_persons_share"] = len(groups) - sum(map(len, parts.values()))
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


def _sorted_out(seen: Survey, policy: Policy, counts: Counter[str]) -> dict[int, str]:
    """The places that are kept, each with its group: pictures that must be on one side."""
    copies: dict[str, list[int]] = defaultdict(list)
    for place, picture in enumerate(seen.pictures):
        if picture.traits is None:
            counts["unreadable"] += 1
        elif min(picture.traits.width, picture.traits.height) < policy.smallest_side:
            counts["tiny"] += 1
        else:
            copies[picture.sha256].append(place)
    firsts = []
    for places in copies.values():
        if len({seen.pictures[place].entry.label for place in places}) > 1:
            counts["conflict"] += len(places)
        else:
            counts["duplicate"] += len(places) - 1
            firsts.append(places[0])
    groups: dict[int, str] = {}
    for family in families(seen, firsts, policy):
        name = min(seen.pictures[place].sha256 for place in family)
        largest: dict[int, int] = {}
        for place in sorted(family, key=lambda place: (_area(seen.pictures[place]), seen.pictures[place].sha256)):
            largest[seen.pictures[place].entry.label] = place
        counts["near_duplicate"] += len(family) - len(largest)
        groups |= dict.fromkeys(largest.values(), name)
    return groups


def _area(picture: Look) -> int:
    return picture.traits.width * picture.traits.height if picture.traits else 0


def _split(groups: Mapping[_Kept, str], share: float) -> dict[Part, list[_Kept]]:
    out = held_out(np.array(list(groups.values()), np.str_), share, seed=SPLIT_SEED)
    return {
        "learn": [one for one, held in zip(groups, out, strict=True) if not held],
        "slice": [one for one, held in zip(groups, out, strict=True) if held],
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
