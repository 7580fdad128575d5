"""A challenger that speaks for its share, a shadow that is heard, and what neither may cost."""

import gc
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.classify import worker
from consumers.classify.slots import Lineup, Trial, warmed_up
from models.classifier import Classifier
from models.doubles import FixedClassifier
from stream.arms import position
from tests.consumers.classify.test_worker import shade
from tests.consumers.site import Site, running
from tests.models.tiny import tiny_bundle, tiny_graph

CHAMPION = "0" * 64
GOOD = tiny_bundle()
OTHER = tiny_bundle(tiny_graph(scale=1 / 128))
# Good enough for a blank picture, and infinite for any other.
BROKEN = tiny_bundle(tiny_graph(scale=3e38))


def put(site, slot: str, bundle, share: float = 1.0) -> None:
    """Says that a bundle is in a slot."""
    path = site.blobs / f"{bundle.digest}.tar"
    path.write_bytes(bundle.pack())
    site.change_model(bundle.digest, path.as_uri(), slot, share)


def send(site, count: int, name: str = "up") -> list[str]:
    ids = [f"{name}-{number}" for number in range(count)]
    site.send([site.upload(upload, shade(1 + number % 250)) for number, upload in enumerate(ids)])
    return ids


def test_a_challenger_speaks_for_its_share_and_for_nobody_else(site, eventually):
    with running(site, FixedClassifier()) as run:
        put(site, "challenger", GOOD, 0.3)
        eventually(lambda: run.holds("challenger") == GOOD.digest[:12])
        ids = send(site, 300)
        site.wait_answered(300)
        spoken = run.count("verdicts_total", {"verdict": "uncertain", "arm": "challenger", "model": GOOD.digest[:12]})
        assert spoken > 0
        assert run.count("infer_seconds_count", {"arm": "challenger"}) > 0
        assert run.worker.model.digest == CHAMPION
    verdicts = {verdict.upload_id: verdict for verdict in site.verdicts()}
    assert sorted(verdicts) == sorted(ids)
    share = {upload for upload in ids if position(upload, GOOD.digest) < 0.3}
    assert share
    assert {upload for upload, verdict in verdicts.items() if verdict.arm == "challenger"} == share
    assert {upload for upload, verdict in verdicts.items() if verdict.model.digest == GOOD.digest} == share
    seen = {each.upload_id: each.model_digest for each in site.embeddings()}
    assert seen == {upload: verdict.model.digest for upload, verdict in verdicts.items()}
    assert site.opinions() == []


@pytest.fixture
def site(embedded_broker, make_site) -> Site:
    """A site that hears every opinion, however busy the machine is."""
    return make_site(embedded_broker, shadow_patience_ms=60_000.0)


def test_a_shadow_is_heard_for_its_share_and_never_speaks(site, eventually):
    with running(site, FixedClassifier()) as run:
        put(site, "shadow", GOOD, 0.5)
        eventually(lambda: run.holds("shadow") == GOOD.digest[:12])
        ids = send(site, 200)
        site.wait_answered(200)
        share = {upload for upload in ids if position(upload, GOOD.digest) < 0.5}
        assert run.count("shadow_opinions_total", {"outcome": "heard"}) == len(share)
    verdicts = {verdict.upload_id: verdict for verdict in site.verdicts()}
    assert sorted(verdicts) == sorted(ids)
    assert {(verdict.arm, verdict.model.digest) for verdict in verdicts.values()} == {("champion", CHAMPION)}
    opinions = {opinion.upload_id: opinion for opinion in site.opinions()}
    assert opinions.keys() == share
    for upload, opinion in opinions.items():
        verdict = verdicts[upload]
        assert opinion.model.digest == GOOD.digest
        assert opinion.tenant == "acme"
        assert (opinion.champion_verdict, opinion.champion_p_ai) == (verdict.verdict, verdict.p_ai)
        assert (opinion.champion_digest, opinion.decided_at) == (CHAMPION, verdict.decided_at)
        assert opinion.infer_ms > 0
        assert opinion.champion_infer_ms > 0
    seen = {(each.upload_id, each.model_digest): each for each in site.embeddings()}
    assert seen.keys() == {(upload, CHAMPION) for upload in ids} | {(upload, GOOD.digest) for upload in share}
    for upload, opinion in opinions.items():
        embedding = seen[upload, GOOD.digest]
        assert len(embedding.vector) == 3
        assert embedding.score == pytest.approx(opinion.p_ai, abs=1e-6)
    assert len(site.read("embeddings")) == len(seen)
    sources = Counter(
        (record.header_map["ce_id"], record.header_map["ce_source"]) for record in site.read("embeddings")
    )
    assert set(sources.values()) == {1}


def test_a_verdict_says_where_its_upload_lies(site):
    with running(site, FixedClassifier()):
        send(site, 20)
        site.wait_answered(20)
    lies = {
        (record.key or b"").decode(): (record.topic, record.partition, record.offset) for record in site.read("uploads")
    }
    said = {v.upload_id: (v.upload_at.topic, v.upload_at.partition, v.upload_at.offset) for v in site.verdicts()}
    assert said == lies


def test_a_shadow_that_fails_costs_no_verdict(site, eventually):
    with running(site, FixedClassifier()) as run:
        put(site, "shadow", BROKEN)
        eventually(lambda: run.holds("shadow") == BROKEN.digest[:12])
        ids = send(site, 100)
        site.wait_answered(100)
        assert run.count("shadow_opinions_total", {"outcome": "failed"}) == 100
        assert run.count("model_failures_total", {"arm": "shadow", "error": "InferenceFailed"}) == 100
    assert sorted(verdict.upload_id for verdict in site.verdicts()) == sorted(ids)
    assert site.letters() == {}
    assert site.opinions() == []
    assert {each.model_digest for each in site.embeddings()} == {CHAMPION}


def test_an_upload_the_challenger_fails_on_is_the_champions(site, eventually):
    with running(site, FixedClassifier()) as run:
        put(site, "challenger", BROKEN, 0.4)
        eventually(lambda: run.holds("challenger") == BROKEN.digest[:12])
        ids = [*send(site, 80), "claimed"]
        site.send([site.upload("claimed", site.claim(shade(9)))])
        site.wait_answered(81)
        share = {upload for upload in ids if position(upload, BROKEN.digest) < 0.4}
        assert run.count("model_failures_total", {"arm": "challenger", "error": "InferenceFailed"}) == len(share)
    verdicts = site.verdicts()
    assert sorted(verdict.upload_id for verdict in verdicts) == sorted(ids)
    assert {(verdict.arm, verdict.model.digest) for verdict in verdicts} == {("champion", CHAMPION)}
    fallen = {v.upload_id: v.evidence[-1].detail for v in verdicts if v.evidence[-1].kind == "fallback"}
    assert fallen.keys() == share
    assert all(BROKEN.digest in detail and "not finite" in detail for detail in fallen.values())
    assert site.letters() == {}


def test_an_upload_that_nobody_can_judge_is_one_dead_letter_of_the_champions(site, eventually):
    with running(site, FixedClassifier(failing=lambda crops: bool(crops.mean() > 250))) as run:
        put(site, "challenger", BROKEN)
        eventually(lambda: run.holds("challenger") == BROKEN.digest[:12])
        site.send([site.upload("bright", shade(255)), site.upload("dim", shade(9))])
        site.wait_answered(2)
    assert [(verdict.upload_id, verdict.arm) for verdict in site.verdicts()] == [("dim", "champion")]
    [(upload, letter)] = site.letters().items()
    assert (upload, letter.error, letter.model_digest) == ("bright", "InferenceFailed", CHAMPION)


def test_a_bad_picture_is_no_fault_of_the_challenger(site, eventually):
    with running(site, FixedClassifier()) as run:
        put(site, "challenger", GOOD)
        eventually(lambda: run.holds("challenger") == GOOD.digest[:12])
        site.send([site.upload("broken", b"no picture"), site.upload("whole", shade(9))])
        site.wait_answered(2)
        assert run.count("model_failures_total", {"arm": "challenger", "error": "NotAnImage"}) == 0
    assert list(site.letters()) == ["broken"]
    assert site.letters()["broken"].model_digest == GOOD.digest
    assert [verdict.arm for verdict in site.verdicts()] == ["challenger"]


class Held(FixedClassifier):
    """Judges nothing while it is held; what is warmed up passes."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest=digest)
        self.go = threading.Event()
        self.go.set()

    def predict(self, batch):
        assert self.go.wait(60)
        return super().predict(batch)


@pytest.fixture
def held(monkeypatch) -> Iterator[Held]:
    """What every bundle is opened as."""
    scorer = Held(GOOD.digest)
    monkeypatch.setattr(worker, "load", lambda *_: scorer)
    yield scorer
    scorer.go.set()


def test_a_shadow_that_hangs_costs_no_verdict_and_is_heard_when_it_is_back(
    embedded_broker, make_site, held, eventually
):
    site = make_site(embedded_broker, shadow_patience_ms=100.0)
    with running(site, FixedClassifier()) as run:
        put(site, "shadow", GOOD)
        eventually(lambda: run.holds("shadow") == GOOD.digest[:12])
        held.go.clear()
        send(site, 200, "held")
        site.wait_answered(200)
        assert run.count("shadow_opinions_total", {"outcome": "late"}) == 200
        assert site.opinions() == []
        held.go.set()
        sent = 200

        def is_heard() -> bool:
            nonlocal sent
            sent += len(send(site, 1, f"free-{sent}"))
            site.wait_answered(sent)
            return run.count("shadow_opinions_total", {"outcome": "heard"}) > 0

        eventually(is_heard)
    assert len({verdict.upload_id for verdict in site.verdicts()}) == len(site.verdicts()) == sent
    assert all(opinion.upload_id.startswith("free-") for opinion in site.opinions())


class Clumsy(FixedClassifier):
    """Fails to cut anything that is not blank."""

    def prepare(self, picture):
        if picture.pixels.any():
            raise IndexError("past the edge")
        return super().prepare(picture)


@pytest.mark.parametrize("slot", ["shadow", "challenger"])
def test_a_bug_in_a_models_cutting_costs_no_verdict(site, eventually, monkeypatch, slot):
    monkeypatch.setattr(worker, "load", lambda *_: Clumsy(digest=GOOD.digest))
    with running(site, FixedClassifier()) as run:
        put(site, slot, GOOD)
        eventually(lambda: run.holds(slot) == GOOD.digest[:12])
        send(site, 20)
        site.wait_answered(20)
        assert run.count("model_failures_total", {"arm": slot, "error": "ProcessingFailed"}) == 20
    assert {(verdict.arm, verdict.model.digest) for verdict in site.verdicts()} == {("champion", CHAMPION)}
    assert site.letters() == {}


@contextmanager
def traffic(site) -> Iterator[list[str]]:
    """Uploads without a pause while the block lasts; the ids, all answered, afterwards."""
    ids: list[str] = []
    over = threading.Event()

    def flow() -> None:
        while not over.is_set():
            ids.extend(send(site, 5, f"flow-{len(ids)}"))

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        yield ids
    finally:
        over.set()
        thread.join()


def test_a_whole_rollout_under_load_loses_and_repeats_nothing(any_broker, make_site, eventually, monkeypatch):
    site, loads = make_site(any_broker, shadow_patience_ms=60_000.0), Counter()
    really = worker.load

    def counted(bundle, settings):
        loads[bundle.digest] += 1
        return really(bundle, settings)

    monkeypatch.setattr(worker, "load", counted)
    book = site.book(GOOD, OTHER)

    def reaches(run, **slots: str) -> None:
        eventually(lambda: {slot: run.holds(slot) for slot in slots} == {s: d[:12] for s, d in slots.items()})

    book.promote(GOOD.digest, "the first")
    with running(site, FixedClassifier()) as run, traffic(site) as ids:
        reaches(run, champion=GOOD.digest)
        book.shadow(OTHER.digest, reason="on trial")
        eventually(lambda: run.count("shadow_opinions_total", {"outcome": "heard"}) > 20)
        book.canary(OTHER.digest, 0.3, reason="looks good")
        reaches(run, challenger=OTHER.digest, shadow="")
        eventually(lambda: run.count("infer_seconds_count", {"arm": "challenger"}) > 5)
        book.promote(OTHER.digest, "better")
        reaches(run, champion=OTHER.digest, challenger="")
        assert loads == {GOOD.digest: 1, OTHER.digest: 1}
        book.rollback("worse")
        reaches(run, champion=GOOD.digest)
        assert loads == {GOOD.digest: 2, OTHER.digest: 1}
    with running(site, FixedClassifier()):
        site.wait_answered(len(ids), 60.0)
    verdicts = site.verdicts()
    assert sorted(verdict.upload_id for verdict in verdicts) == sorted(ids)
    assert site.letters() == {}
    kinds = {(verdict.arm, verdict.model.digest) for verdict in verdicts}
    assert {("champion", GOOD.digest), ("challenger", OTHER.digest)} <= kinds
    assert kinds <= {(arm, digest) for arm in ("champion", "challenger") for digest in (GOOD.digest, OTHER.digest)}
    heard = Counter(opinion.upload_id for opinion in site.opinions())
    assert set(heard.values()) == {1}
    seen = Counter((each.upload_id, each.model_digest) for each in site.embeddings())
    assert set(seen.values()) == {1}
    assert len(seen) == len(ids) + len(heard)


def _alive(digest: str) -> int:
    gc.collect()
    return sum(type(thing) is Classifier and thing.digest == digest for thing in gc.get_objects())


def test_a_model_that_has_left_its_slot_is_let_go(site, eventually):
    with running(site, FixedClassifier()) as run:
        put(site, "challenger", GOOD, 0.5)
        eventually(lambda: run.holds("challenger") == GOOD.digest[:12])
        put(site, "shadow", OTHER)
        eventually(lambda: run.holds("shadow") == OTHER.digest[:12])
        send(site, 50)
        site.wait_answered(50)
        assert (_alive(GOOD.digest), _alive(OTHER.digest)) == (1, 1)
        site.change_model(None, None, "challenger")
        site.change_model(None, None, "shadow")
        eventually(lambda: not run.holds("challenger") and not run.holds("shadow"))
        sent = 50

        def is_let_go() -> bool:
            # A thread holds what it worked on last until it works again.
            nonlocal sent
            sent += len(send(site, 5, f"more-{sent}"))
            site.wait_answered(sent)
            return _alive(GOOD.digest) + _alive(OTHER.digest) == 0

        eventually(is_let_go)


@pytest.mark.parametrize("slot", ["challenger", "shadow"])
def test_a_trial_that_cannot_begin_ends_the_one_before(site, eventually, slot):
    with running(site, FixedClassifier()) as run:
        put(site, slot, GOOD)
        eventually(lambda: run.holds(slot) == GOOD.digest[:12])
        site.change_model("e" * 64, f"{site.blobs.as_uri()}/none.tar", slot)
        eventually(lambda: run.count("model_refusals_total", {"error": "BlobNotFound"}) == 1)
        assert run.holds(slot) == ""
        send(site, 10)
        site.wait_answered(10)
    assert {(verdict.arm, verdict.model.digest) for verdict in site.verdicts()} == {("champion", CHAMPION)}
    assert site.opinions() == []


def test_each_model_remembers_for_itself(embedded_broker, make_site, redis_server, eventually):
    site = make_site(embedded_broker, redis_url=redis_server.url)
    model = FixedClassifier()
    with running(site, model) as run:
        site.send([site.upload("before", shade(7))])
        site.wait_answered(1)
        put(site, "shadow", GOOD)
        eventually(lambda: run.holds("shadow") == GOOD.digest[:12])
        site.send([site.upload("new-to-the-shadow", shade(7))])
        site.wait_answered(2)
        judged = len(model.batches)

        def is_remembered() -> bool:
            sent = len(site.verdicts())
            site.send([site.upload(f"again-{sent}", shade(7))])
            site.wait_answered(sent + 1)
            return len(model.batches) == judged

        eventually(is_remembered)
    opinions = {opinion.upload_id: opinion for opinion in site.opinions()}
    assert opinions.keys() == {verdict.upload_id for verdict in site.verdicts()} - {"before"}
    assert {opinion.model.digest for opinion in opinions.values()} == {GOOD.digest}
    assert len({opinion.p_ai for opinion in opinions.values()}) == 1
    again = next(opinion for upload, opinion in opinions.items() if upload.startswith("again"))
    assert (again.infer_ms, again.champion_infer_ms) == (0.0, 0.0)


@given(upload=st.text(min_size=1, max_size=20), shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_every_upload_has_one_speaker_and_the_shadow_sits_beside_the_champion_only(upload, shares):
    champion, challenger, shadow = (warmed_up(FixedClassifier(digest=letter * 64)) for letter in "abc")
    lineup = Lineup(champion, Trial(challenger, shares[0]), Trial(shadow, shares[1]))
    turn = lineup.turn(upload)
    if position(upload, "b" * 64) < shares[0]:
        assert (turn.speaker, turn.arm, turn.shadow) == (challenger, "challenger", None)
    else:
        assert (turn.speaker, turn.arm) == (champion, "champion")
        assert (turn.shadow is shadow) == (position(upload, "c" * 64) < shares[1])
    alone = lineup.turn(upload, trials=False)
    assert (alone.speaker, alone.arm, alone.shadow) == (champion, "champion", None)
