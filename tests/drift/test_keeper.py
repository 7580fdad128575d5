import numpy as np
import pytest

from drift.baselines import Baselines
from drift.keeper import Keeper
from drift.metrics import DriftMetrics
from drift.reference import Reference
from models.registry import Registry
from stream.doubles import MemoryBlobs
from stream.errors import BlobForbidden
from stream.settings import DriftSettings
from tests.drift import worlds
from tests.drift.test_windows import sighting

OTHER = "c" * 64
SMALL = DriftSettings(window=100, reference=200, baseline=400)
PLACE = f"memory://bundles/{worlds.DIGEST}/reference.npz"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return worlds.reference()


class Builder:
    """Builds here what the service builds in its other process."""

    def build(self, vectors, scores, **settings) -> Reference:
        return Reference.build(vectors, scores, repetitions=200, alpha=0.05, components=3, **settings)


class Site:
    def __init__(self, bundled: bytes | None = None):
        self.store = MemoryBlobs()
        self.baselines = Baselines(1000)
        self.metrics = DriftMetrics()
        self.told: list[Reference] = []
        self.keeper = Keeper(
            Registry(self.store),
            lambda _: bundled,
            Builder(),
            self.baselines,
            settings=SMALL,
            metrics=self.metrics,
            told=self.told.append,
        )

    def seen(self, count: int, *, seed: int = 0, digest: str = worlds.DIGEST) -> None:
        for number, vector in enumerate(worlds.usual(count, seed=seed)[0]):
            one = sighting(number, 0, number, digest=digest)
            self.baselines.add(one._replace(embedding=_with(one.embedding, vector)))


def _with(embedding, vector):
    return type(embedding)(
        embedding.upload_id, vector.astype(np.float16), embedding.model_digest, float(np.tanh(abs(vector[0]))),
        embedding.tenant, embedding.at,
    )  # fmt: skip


def test_the_registrys_comes_before_the_bundles(reference):
    site = Site(bundled=worlds.reference(seed=1).to_bytes())
    assert site.keeper.reference(worlds.DIGEST).digest != reference.digest
    site = Site(bundled=worlds.reference(seed=1).to_bytes())
    site.store.objects[PLACE] = reference.to_bytes()
    assert site.keeper.reference(worlds.DIGEST).digest == reference.digest
    assert [told.digest for told in site.told] == [reference.digest]


def test_a_reference_of_another_model_is_refused_counted_and_told(reference):
    site = Site()
    site.store.objects[PLACE.replace(worlds.DIGEST, OTHER)] = reference.to_bytes()
    assert site.keeper.reference(OTHER) is None
    assert "refused" in site.keeper.state(OTHER)
    assert site.metrics.registry.get_sample_value("veristream_drift_failures_total", {"error": "ReferenceInvalid"}) == 1


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_broken_bytes_are_refused(data):
    site = Site(bundled=data)
    assert site.keeper.reference(worlds.DIGEST) is None


def test_a_store_that_is_away_is_asked_again(reference):
    site = Site()
    site.store.objects[PLACE] = reference.to_bytes()
    site.store.away = True
    assert site.keeper.reference(worlds.DIGEST) is None
    site.store.away = False
    assert site.keeper.reference(worlds.DIGEST).digest == reference.digest


def test_a_bundle_that_may_not_be_read_counts_as_none():
    def forbidden(_):
        raise BlobForbidden("outside the allowed folders")

    site = Site()
    site.keeper = Keeper(
        Registry(site.store), forbidden, Builder(), site.baselines, settings=SMALL, metrics=site.metrics,
        told=site.told.append,
    )  # fmt: skip
    site.seen(400)
    assert site.keeper.reference(worlds.DIGEST) is not None


def test_a_model_without_one_is_watched_and_then_has_one():
    site = Site()
    site.seen(399)
    assert site.keeper.reference(worlds.DIGEST) is None
    assert site.keeper.state(worlds.DIGEST).startswith("399 of 400 embeddings are collected")
    site.seen(1, seed=1)
    made = site.keeper.reference(worlds.DIGEST)
    assert site.store.objects[PLACE] == made.reference.to_bytes()
    assert site.baselines.count(worlds.DIGEST) == 0


def test_promotion_freezes_what_the_trial_saw(reference):
    site = Site(bundled=reference.to_bytes())
    site.seen(320)
    assert site.keeper.reference(worlds.DIGEST).digest == reference.digest
    site.keeper.promoted(worlds.DIGEST)
    frozen = site.keeper.reference(worlds.DIGEST)
    assert frozen.digest != reference.digest
    assert site.store.objects[PLACE] == frozen.reference.to_bytes()
    site.baselines.watch(worlds.DIGEST)
    site.seen(320, seed=9)
    site.keeper.promoted(worlds.DIGEST)
    assert site.keeper.reference(worlds.DIGEST).digest == frozen.digest


def test_a_short_trial_goes_on_collecting(reference):
    site = Site(bundled=reference.to_bytes())
    site.seen(150)
    site.keeper.promoted(worlds.DIGEST)
    assert site.keeper.reference(worlds.DIGEST) is None
    assert "150 of 300" in site.keeper.state(worlds.DIGEST)
    site.seen(150, seed=2)
    assert site.keeper.reference(worlds.DIGEST) is not None


def test_a_champion_without_a_trial_keeps_its_reference(reference):
    site = Site(bundled=reference.to_bytes())
    site.keeper.promoted(worlds.DIGEST)
    assert site.keeper.reference(worlds.DIGEST).digest == reference.digest
    assert site.store.objects == {}
