"""Scores picture by picture: batches and threads must not change what a picture gets."""

import numpy as np
import pytest

from models.decode import decode
from models.doubles import FixedClassifier
from models.evaluation.delivery import TIERS, delivered
from models.evaluation.pictures import index
from models.evaluation.scoring import score
from models.evaluation.transforms import FAILURE_MODES, METAMORPHIC
from stream.errors import InferenceFailed
from tests.models.evaluation.collections import files, picture, zipped


@pytest.fixture(scope="module")
def collections(tmp_path_factory):
    """CIFAKE's layout and size, more pictures than one batch holds, one of them broken."""
    content = {f"real/{n}.jpg": picture(n, 0.3, side=32) for n in range(20)}
    content |= {f"fake/{n}.png": picture(n, 0.7, side=31 + n, kind="PNG") for n in range(4)}
    return index([zipped(tmp_path_factory.mktemp("scoring") / "x.zip", {**content, "real/9b.jpg": b"\xff\xd8\xff"})])


def alone(scorer, make, item):
    return scorer.predict([scorer.prepare(make(item.data, decode(item.data)))])[0].p_ai


@pytest.mark.parametrize("threads", [1, 3])
def test_every_picture_gets_the_score_it_gets_alone(collections, threads):
    scorer = FixedClassifier(size=48, count=2)
    found = score(collections, scorer, TIERS, threads=threads)
    items = [item for item in collections[0].items() if not item.stem.startswith("9b")]
    assert found.labels.tolist() == [item.label for item in items]
    assert found.unreadable == {"TruncatedImage": 1}
    assert set(found.sources) == {"real/unnamed", "fake/unnamed"}
    for tier in TIERS:
        expected = [alone(scorer, lambda _, shown, tier=tier: delivered(shown, tier), item) for item in items]
        assert found.p[tier].tolist() == expected
    for name, transform in METAMORPHIC.items():
        assert found.p[name].tolist() == [alone(scorer, transform, item) for item in items]
    for name, transform in FAILURE_MODES.items():
        expected = [np.nan if item.label else alone(scorer, transform, item) for item in items]
        assert np.array_equal(found.p[name], expected, equal_nan=True)


def test_a_batch_holds_several_pictures_and_equal_crops_are_scored_once(collections):
    scorer = FixedClassifier()
    score(collections, scorer, ["clean"], tests=False)
    assert max(scorer.batches) > 10
    assert sum(scorer.batches) == 24
    scorer.batches.clear()
    score(collections, scorer, ["clean"])
    assert sum(scorer.batches) < 24 * (1 + len(METAMORPHIC)) + 20 * len(FAILURE_MODES)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_picture_that_fails_in_a_batch_is_named(tmp_path, threads):
    content = {**files(), "real/odd/1.png": picture(1, 1.0, kind="PNG")}
    scorer = FixedClassifier(failing=lambda crops: bool(crops.mean() > 240))
    with pytest.raises(InferenceFailed) as failure:
        score(index([zipped(tmp_path / "x.zip", content)]), scorer, ["clean"], tests=False, threads=threads)
    assert "real/odd" in str(failure.value.where)
