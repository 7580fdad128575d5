import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("scipy", reason="checking pictures needs scipy")

from models.evaluation.pictures import index
from retrain.dataset import Dataset, build
from retrain.pictures import Found
from retrain.quality import Needs, findings
from retrain.selection import Chosen
from stream.errors import DatasetUnfit
from tests.models.dataset.made import encoded, image

PEOPLE = ("ann", "ben", "cem", "dora", "eve")
FAKE, REAL = "ai_generated", "authentic"
JOB = "0123456789abcdef"


def chosen(upload_id: str, label: str, owner: str | None = None, weight: float = 0.5) -> Chosen:
    return Chosen(
        upload_id=upload_id, tenant="Acme & Söhne", upload_at=None, label=label, weight=weight, origin="moderator",
        owner=owner, label_ids=("l1",),
    )  # fmt: skip


def found(upload_id: str, data: bytes) -> Found:
    return Found(upload_id, data, "image/jpeg")


def made(each: int) -> tuple[list[Chosen], list[Found]]:
    labels, pictures = [], []
    for number in range(2 * each):
        upload_id = f"u{number}"
        labels.append(chosen(upload_id, FAKE if number % 2 else REAL, PEOPLE[number // 2 % len(PEOPLE)]))
        pictures.append(found(upload_id, encoded(image(number))))
    return labels, pictures


def built(labels: Sequence[Chosen], pictures: Sequence[Found], **changes: object) -> Dataset:
    given = {"job_id": JOB, "needs": Needs(3, 1), "share": 0.3, "reviewer_share": 0.25}
    return build(labels, pictures, **{**given, **changes})


def names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [name for name in archive.namelist() if name != "metadata.csv"]


@pytest.fixture(scope="module")
def thirty() -> tuple[list[Chosen], list[Found]]:
    return made(30)


def test_both_zips_are_collections_with_sources_and_weights(thirty, tmp_path: Path) -> None:
    dataset = built(*thirty)
    for name, data in (("learn", dataset.learn), ("slice", dataset.slice)):
        path = tmp_path / f"{name}.zip"
        path.write_bytes(data)
        (collection,) = index([path])
        assert {entry.source for entry in collection.entries} == {
            f"{side}/acme-s-hne-01234567" for side in ("fake", "real")
        }
        assert all(0 < float(item.facts["weight"]) <= 0.5 for item in collection.items())
        listed = {picture.path: picture.sha256 for picture in dataset.pictures if picture.part == name}
        assert listed == {
            entry.path: hashlib.sha256(item.data).hexdigest()
            for entry, item in zip(collection.entries, collection.items(), strict=True)
        }


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_equal_input_in_any_order_gives_equal_bytes(thirty, random) -> None:
    labels, pictures = thirty
    shuffled, turned = random.sample(labels, len(labels)), random.sample(pictures, len(pictures))
    assert built(shuffled, turned) == built(labels, pictures)


def test_a_picture_held_out_of_one_job_is_held_out_of_every_other() -> None:
    labels, pictures = made(40)
    sides = []
    for part in (slice(0, 60), slice(20, 80)):
        dataset = built(labels[part], pictures[part], job_id="another job", reviewer_share=1.0)
        sides.append({picture.sha256: picture.part for picture in dataset.pictures})
    common = sides[0].keys() & sides[1].keys()
    assert len(common) == 40
    assert all(sides[0][one] == sides[1][one] for one in common)


def test_equal_and_nearly_equal_pictures_of_a_label_count_once(thirty) -> None:
    labels, pictures = thirty
    again, smaller = encoded(image(1)), encoded(image(3), quality=70)
    more = [chosen("again", FAKE), chosen("smaller", FAKE)]
    dataset = built([*labels, *more], [*pictures, found("again", again), found("smaller", smaller)])
    assert (dataset.counts["duplicate"], dataset.counts["near_duplicate"]) == (1, 1)


def test_the_same_picture_under_both_labels_is_left_out(thirty) -> None:
    labels, pictures = thirty
    both = [chosen("both", REAL)]
    dataset = built([*labels, *both], [*pictures, found("both", pictures[1].data)])
    assert dataset.counts["conflict"] == 2
    assert hashlib.sha256(pictures[1].data).hexdigest() not in {one.sha256 for one in dataset.pictures}
    assert dataset.warnings


def test_a_picture_and_its_twin_of_the_other_label_stay_on_one_side() -> None:
    labels, pictures = [], []
    for number in range(40):
        for label, quality in ((REAL, 95), (FAKE, 75)):
            labels.append(chosen(f"{label}-{number}", label))
            pictures.append(found(f"{label}-{number}", encoded(image(number), quality=quality)))
    dataset = built(labels, pictures)
    assert len(dataset.pictures) == 80
    parts: dict[str, set[str]] = {}
    for picture in dataset.pictures:
        parts.setdefault(picture.upload_id.rpartition("-")[2], set()).add(picture.part)
    assert all(len(sides) == 1 for sides in parts.values())


def test_no_one_person_carries_more_than_the_share() -> None:
    labels, pictures = made(40)
    eager = [one if number % 3 else one.model_copy(update={"owner": "eager"}) for number, one in enumerate(labels)]
    heavy = [one.model_copy(update={"weight": 1.0 if one.owner == "eager" else 0.1}) for one in eager]
    dataset = built(heavy, pictures)
    owners = {one.upload_id: one.owner for one in heavy}
    for part in ("learn", "slice"):
        members = [one for one in dataset.pictures if one.part == part]
        theirs = [one for one in members if owners[one.upload_id] == "eager"]
        assert len(theirs) <= 0.25 * len(members)
        assert sum(one.weight for one in theirs) <= 0.25 * sum(one.weight for one in members) + 1e-4
    assert dataset.counts["over_a_persons_share"] > 0


def test_golden_pictures_are_never_learned(thirty) -> None:
    labels, pictures = thirty
    never = {hashlib.sha256(one.data).hexdigest() for one in pictures[:10]}
    dataset = built(labels, pictures, never=never)
    assert dataset.counts["golden"] == 10
    assert not never & {one.sha256 for one in dataset.pictures}


def test_what_cannot_be_decoded_or_is_tiny_is_counted(thirty) -> None:
    labels, pictures = thirty
    small = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(small, "PNG")
    odd = {"broken": b"no picture", "small": small.getvalue()}
    dataset = built([*labels, *(chosen(name, FAKE) for name in odd)], [*pictures, *map(found, odd, odd.values())])
    assert (dataset.counts["unreadable"], dataset.counts["tiny"]) == (1, 1)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (lambda number: number < 4, "2 machine-made pictures that can be read again, fewer than 4"),
        (lambda number: not number % 2, "0 machine-made pictures that can be read again, fewer than 4"),
    ],
)
def test_too_little_is_refused_in_words(thirty, kept, said: str) -> None:
    labels, pictures = thirty
    some = [one for number, one in enumerate(pictures) if kept(number)]
    with pytest.raises(DatasetUnfit, match=said):
        built(labels, some, reviewer_share=1.0)


def test_one_persons_labels_alone_are_refused(thirty) -> None:
    labels, pictures = thirty
    alone = [one.model_copy(update={"owner": "ann"}) for one in labels]
    with pytest.raises(DatasetUnfit, match="one person's word"):
        built(alone, pictures)


def test_a_side_with_too_little_and_a_class_of_nearly_nothing_are_refused() -> None:
    enough = {FAKE: 90, REAL: 90}
    assert findings({"learn": enough, "slice": enough}, Needs(5, 5), {}) == []
    assert findings({"learn": enough, "slice": {FAKE: 9, REAL: 4}}, Needs(5, 5), {}) == [
        "4 authentic pictures to be judged by, fewer than 5"
    ]
    (reason,) = findings({"learn": {FAKE: 90, REAL: 5}, "slice": enough}, Needs(5, 5), {})
    assert reason.startswith("the smaller class has 5 of 95 pictures")
