from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.baselines import Baselines
from drift.keeper import Keeper, wanted
from drift.metrics import DriftMetrics
from drift.monitor import Monitor
from drift.policy import Rules
from drift.reference import Reference
from drift.windows import Windows
from models.registry import Registry
from stream.doubles import ManualClock, MemoryBlobs
from stream.errors import BlobForbidden
from stream.settings import DriftSettings
from tests.drift import worlds
from tests.drift.test_windows import AT, sighting

OTHER = "c" * 64
SMALL = DriftSettings(window=100, reference=200, baseline=400)
LARGE = DriftSettings(window=100, reference=200, baseline=2000)
PROMOTED_AT = AT + timedelta(hours=1)
PLACE = f"memory://bundles/{worlds.DIGEST}/reference.npz"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return worlds.reference()


class Builder:
    """Builds here what the service builds in its other process."""

    def build(self, vectors, scores, **settings) -> Reference:
        return Reference.build(vectors, scores, repetitions=200, alpha=0.05, components=3, **settings)


class Site:
    def __init__(self, bundled: bytes | None = None, store: MemoryBlobs | None = None, builder=None, settings=SMALL):
        self.store = store if store is not None else MemoryBlobs()
        self.baselines = Baselines(wanted(settings))
        self.metrics = DriftMetrics()
        self.told: list[Reference] = []
        self.keeper = Keeper(
            Registry(self.store),
            lambda _: bundled,
            builder or Builder(),
            self.baselines,
            settings=settings,
            metrics=self.metrics,
            told=self.told.append,
        )

    def seen(self, count: int, *, seed: int = 0, digest: str = worlds.DIGEST, at=AT) -> None:
        for number, vector in enumerate(worlds.usual(count, seed=seed)[0]):
            one = sighting(number, 0, number, digest=digest)
            self.baselines.add(one._replace(embedding=_with(one.embedding, vector, at)))

    def alike(self, value: float) -> None:
        """As many embeddings as are wanted, all of this number: on trial or after it."""
        at = AT if value == TRIAL else PROMOTED_AT + timedelta(seconds=1)
        for number in range(300):
            one = sighting(number, 0, number, digest=worlds.DIGEST)
            self.baselines.add(one._replace(embedding=_with(one.embedding, np.full(3, value), at)))


def _with(embedding, vector, at):
    return type(embedding)(
        embedding.upload_id, vector.astype(np.float16), embedding.model_digest, float(np.tanh(abs(vector[0]))),
        embedding.tenant, at,
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


def test_a_window_whose_reference_cannot_be_read_is_no_good_news(reference):
    site, windows = Site(), Windows(3, 60.0, 0)
    monitor = Monitor(
        site.keeper, Builder(), Builder(), rules=Rules(), states={}, metrics=site.metrics, clock=ManualClock()
    )
    closed = [window for n in range(6) for window in windows.add(sighting(n, 0, n, digest=worlds.DIGEST), 0.0)]
    site.store.away = True
    (told,) = monitor.judge(closed[0])
    assert told.status == "warning"
    assert "no reference could be read" in told.reason
    site.store.away = False
    (told,) = monitor.judge(closed[1])
    assert (told.status, told.reason) == ("ok", "0 of 400 embeddings are collected for a reference of this model")


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
    site.keeper.promoted(worlds.DIGEST, PROMOTED_AT)
    frozen = site.keeper.reference(worlds.DIGEST)
    assert frozen.digest != reference.digest
    assert site.store.objects[PLACE] == frozen.reference.to_bytes()
    site.baselines.watch(worlds.DIGEST)
    site.seen(320, seed=9)
    site.keeper.promoted(worlds.DIGEST, PROMOTED_AT)
    assert site.keeper.reference(worlds.DIGEST).digest == frozen.digest


def test_a_short_trial_goes_on_collecting(reference):
    site = Site(bundled=reference.to_bytes())
    site.seen(150)
    site.keeper.promoted(worlds.DIGEST, PROMOTED_AT)
    assert site.keeper.reference(worlds.DIGEST) is None
    assert "150 of 300" in site.keeper.state(worlds.DIGEST)
    site.seen(150, seed=2)
    assert site.keeper.reference(worlds.DIGEST) is not None


def test_a_short_trial_is_filled_up_with_a_reign_that_is_long_enough_by_itself(reference):
    """Partitions are not read in step: what a reign shows early may come before the last of the trial."""
    site = Site(bundled=reference.to_bytes())
    site.keeper.promoted(worlds.DIGEST, PROMOTED_AT)
    site.seen(150)
    site.seen(299, seed=3, at=PROMOTED_AT + timedelta(seconds=1))
    assert site.keeper.reference(worlds.DIGEST) is None
    assert "299 of 300" in site.keeper.state(worlds.DIGEST)
    site.seen(1, seed=4, at=PROMOTED_AT + timedelta(seconds=1))
    assert len(site.keeper.reference(worlds.DIGEST).reference.vectors) == 200


def test_enough_is_kept_where_windows_are_large_and_baselines_small():
    site = Site(settings=DriftSettings(window=200, reference=200, baseline=300))
    site.seen(700)
    assert site.keeper.reference(worlds.DIGEST) is not None


def test_a_champion_without_a_trial_keeps_its_reference(reference):
    site = Site(bundled=reference.to_bytes())
    site.keeper.promoted(worlds.DIGEST, PROMOTED_AT)
    assert site.keeper.reference(worlds.DIGEST).digest == reference.digest
    assert site.store.objects == {}


def test_a_trial_that_is_read_after_its_promotion_is_what_is_frozen(reference):
    """The monitor was down when the model was promoted: it hears of that first, and of the trial afterwards."""
    site = Site(bundled=reference.to_bytes())
    site.keeper.promoted(worlds.DIGEST, PROMOTED_AT)
    site.seen(300)
    frozen = site.keeper.reference(worlds.DIGEST)
    assert frozen.digest != reference.digest
    assert site.store.objects[PLACE] == frozen.reference.to_bytes()


def test_what_a_champion_sees_is_no_trial(reference):
    site = Site(bundled=reference.to_bytes())
    site.keeper.promoted(worlds.DIGEST, PROMOTED_AT)
    site.seen(400, at=PROMOTED_AT + timedelta(seconds=1))
    assert site.keeper.reference(worlds.DIGEST).digest == reference.digest
    assert site.keeper.stands(worlds.DIGEST)
    assert site.store.objects == {}


def test_a_store_that_is_away_at_a_promotion_is_asked_again(reference):
    site = Site(bundled=reference.to_bytes())
    site.seen(300)
    site.store.away = True
    site.keeper.promoted(worlds.DIGEST, PROMOTED_AT)
    assert site.keeper.reference(worlds.DIGEST) is None
    assert not site.keeper.stands(worlds.DIGEST)
    site.store.away = False
    assert site.keeper.reference(worlds.DIGEST).digest != reference.digest
    assert PLACE in site.store.objects


class Recorder:
    """Builds nothing: notes whose embeddings it was given, by the number they are all made of."""

    def __init__(self) -> None:
        self.given: list[set[float]] = []

    def build(self, vectors, scores, **settings) -> Reference:
        self.given.append(set(vectors[:, 0].tolist()))
        return worlds.reference(seed=1)


TRIAL, REIGN = 1.0, 2.0
EVENTS = st.lists(st.sampled_from(["read", "promoted", "look", "restart", "away", "back"]), max_size=15)


@given(st.integers(0, 2), EVENTS)
def test_over_all_lives_a_reference_is_frozen_once_and_of_the_trial_alone(batches, events):
    """An earlier life's embeddings are read back as far as it still needed them: bookmarks see to that."""
    own, builder, store = worlds.reference().to_bytes(), Recorder(), MemoryBlobs()
    topic = [TRIAL] * batches + [REIGN] * 2
    promoted, needed, position = False, 0, 0
    site = Site(bundled=own, store=store, builder=builder, settings=LARGE)
    for event in [*events, "back", "promoted", *["read"] * len(topic), "restart", "look"]:
        if event == "read" and position < len(topic) and (promoted or topic[position] == TRIAL):
            site.alike(topic[position])
            position += 1
        elif event == "promoted" and not promoted:
            promoted = True
            site.keeper.promoted(worlds.DIGEST, PROMOTED_AT)
        elif event == "look":
            site.keeper.reference(worlds.DIGEST)
            if promoted and site.keeper.stands(worlds.DIGEST):
                site.baselines.settle(worlds.DIGEST)
        elif event == "restart":
            needed = needed if site.baselines.count(worlds.DIGEST) else position
            site = Site(bundled=own, store=store, builder=builder, settings=LARGE)
            if promoted:
                site.keeper.promoted(worlds.DIGEST, PROMOTED_AT)
            for value in topic[needed:position]:
                site.alike(value)
        elif event in {"away", "back"}:
            store.away = event == "away"
    assert builder.given == ([{TRIAL}] if batches else [])
    assert (PLACE in store.objects) == bool(batches)
