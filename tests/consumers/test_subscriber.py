import threading
from datetime import UTC, datetime

import pytest

from consumers.subscriber import AsyncVerdictSubscriber, VerdictSubscriber
from stream import messages
from stream.doubles import MemoryBroker, MemoryConsumer, MemoryProducer
from stream.errors import MalformedEvent
from stream.events import ImageFacts, ModelRef, ThresholdIds, Timings, Verdict
from stream.records import Outgoing
from stream.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def verdict(name: str, *, p_ai: float = 0.9, said: str = "ai_generated", tenant: str = "acme") -> Outgoing:
    event = Verdict(
        upload_id=name,
        tenant=tenant,
        verdict=said,
        p_ai=p_ai,
        thresholds=ThresholdIds(authentic_below="low", ai_above="high"),
        model=ModelRef(name="m", version="1", digest="d", provider="CPU", precision="fp32"),
        image=ImageFacts(sha256="0" * 64, media_type="image/png", width=1, height=1),
        timings_ms=Timings(queue=0, fetch=0, decode=0, infer=0, total=0),
        occurred_at=NOW,
        decided_at=NOW,
    )
    return messages.encode(event, topic="verdicts", key=name, source="test", time=NOW)


@pytest.fixture
def filled():
    broker = MemoryBroker(partitions=1)
    producer = MemoryProducer(broker)
    for number in range(10):
        said = "ai_generated" if number % 2 else "authentic"
        producer.send(verdict(f"up-{number}", p_ai=number / 10, said=said, tenant="acme" if number < 8 else "umbrella"))
    return broker


def subscriber(broker, kind=VerdictSubscriber, **given):
    return kind(Settings(), "readers", consumer=MemoryConsumer(broker, "readers"), **given)


def names(found) -> list[str]:
    return [verdict.upload_id for verdict in found]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, range(10)),
        ({"verdicts": {"ai_generated"}}, [1, 3, 5, 7, 9]),
        ({"min_p_ai": 0.7}, [7, 8, 9]),
        ({"tenants": {"umbrella"}}, [8, 9]),
        ({"verdicts": {"authentic"}, "min_p_ai": 0.5, "tenants": {"acme"}}, [6]),
    ],
)
def test_only_what_is_wanted_arrives_typed_and_in_order(filled, given, expected):
    seen: list[Verdict] = []
    with subscriber(filled, **given) as verdicts:
        assert verdicts.run(seen.append, limit=len(expected)) == len(expected)
    assert names(seen) == [f"up-{number}" for number in expected]


def test_what_was_handled_is_not_seen_again_and_the_rest_is(filled):
    with subscriber(filled) as verdicts:
        verdicts.run(lambda _: None, limit=4)
    seen: list[Verdict] = []
    with subscriber(filled) as verdicts:
        verdicts.run(seen.append, limit=6)
    assert names(seen) == [f"up-{number}" for number in range(4, 10)]


def test_what_a_filter_leaves_out_counts_as_handled(filled):
    with subscriber(filled, tenants={"umbrella"}) as verdicts:
        verdicts.run(lambda _: None, limit=2)
    MemoryProducer(filled).send(verdict("new"))
    seen: list[Verdict] = []
    with subscriber(filled) as verdicts:
        verdicts.run(seen.append, limit=1)
    assert names(seen) == ["new"]


def test_a_handler_that_fails_for_a_moment_is_called_again(filled):
    calls: list[str] = []

    def handler(verdict: Verdict) -> None:
        calls.append(verdict.upload_id)
        if len(calls) < 3:
            raise RuntimeError("not yet")

    with subscriber(filled) as verdicts:
        verdicts.run(handler, limit=2)
    assert calls == ["up-0", "up-0", "up-0", "up-1"]


def test_a_handler_that_goes_on_failing_loses_nothing(filled):
    def handler(verdict: Verdict) -> None:
        if verdict.upload_id == "up-3":
            raise RuntimeError("never")

    seen: list[Verdict] = []
    with subscriber(filled, retries=0) as verdicts:
        with pytest.raises(RuntimeError, match="never"):
            verdicts.run(handler)
        verdicts.run(seen.append, limit=1)
        with pytest.raises(RuntimeError, match="never"):
            verdicts.run(lambda verdict: handler(verdict.model_copy(update={"upload_id": "up-3"})))
    assert names(seen) == ["up-3"]
    with subscriber(filled) as verdicts:
        verdicts.run(seen.append, limit=1)
    assert names(seen) == ["up-3", "up-4"]


def test_the_loop_commits_each_verdict_when_the_next_is_asked_for(filled):
    with subscriber(filled) as verdicts:
        for seen in verdicts:
            if seen.upload_id == "up-5":
                break
    with subscriber(filled) as verdicts:
        assert next(iter(verdicts)).upload_id == "up-5"


def test_a_stop_ends_it(filled):
    stop = threading.Event()
    with subscriber(filled) as verdicts:
        assert verdicts.run(lambda seen: stop.set() if seen.upload_id == "up-2" else None, stop=stop) == 3


def test_what_is_no_verdict_raises_or_is_handed_over(filled):
    MemoryProducer(filled).send(Outgoing("verdicts", b"odd", b"{}", ()))
    MemoryProducer(filled).send(verdict("after"))
    with subscriber(filled) as verdicts:
        with pytest.raises(MalformedEvent, match="missing headers"):
            verdicts.run(lambda _: None)
        with pytest.raises(MalformedEvent, match="missing headers"):
            verdicts.run(lambda _: None)
    odd: list[bytes] = []
    seen: list[Verdict] = []
    with subscriber(filled, on_malformed=lambda record, _: odd.append(record.key)) as verdicts:
        verdicts.run(seen.append, limit=1)
    assert odd == [b"odd"]
    assert names(seen) == ["after"]


def test_members_of_a_group_share_the_verdicts():
    broker = MemoryBroker(partitions=4)
    for number in range(40):
        MemoryProducer(broker).send(verdict(f"up-{number}"))
    seen: list[str] = []
    stop = threading.Event()

    def work() -> None:
        with subscriber(broker) as verdicts:
            # Whoever joins may meet again what the other had not committed yet.
            verdicts.run(lambda found: (seen.append(found.upload_id), len(set(seen)) == 40 and stop.set()), stop=stop)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(seen)) == 40


async def test_asyncio_iterates(filled):
    seen: list[Verdict] = []
    async with subscriber(filled, AsyncVerdictSubscriber, verdicts={"authentic"}) as verdicts:
        async for found in verdicts:
            seen.append(found)
            if len(seen) == 3:
                break
    assert names(seen) == ["up-0", "up-2", "up-4"]


async def test_asyncio_keeps_the_same_promises(filled):
    calls: list[str] = []

    async def handler(found: Verdict) -> None:
        calls.append(found.upload_id)
        if calls.count("up-1") == 1:
            raise RuntimeError("not yet")
        if found.upload_id == "up-3":
            raise RuntimeError("never")

    async with subscriber(filled, AsyncVerdictSubscriber, retries=1) as verdicts:
        with pytest.raises(RuntimeError, match="never"):
            await verdicts.run(handler)
    assert calls == ["up-0", "up-1", "up-1", "up-2", "up-3", "up-3"]
    async with subscriber(filled, AsyncVerdictSubscriber) as verdicts:
        assert await verdicts.run(_nothing, limit=7) == 7


async def _nothing(_: Verdict) -> None:
    """A handler with nothing to do."""


def test_it_reads_from_a_broker(any_broker, make_site):
    site = make_site(any_broker)
    record = verdict("up-1")
    site.send([Outgoing(site.topics["verdicts"], record.key, record.value, record.headers)])
    seen: list[Verdict] = []
    with VerdictSubscriber(site.settings, "readers-of-one") as verdicts:
        verdicts.run(seen.append, limit=1)
    assert names(seen) == ["up-1"]
