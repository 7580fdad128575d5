import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream import ports
from stream.doubles import (
    ManualClock,
    MemoryBlobs,
    MemoryBroker,
    MemoryCache,
    MemoryCommitter,
    MemoryConsumer,
    MemoryProducer,
)
from stream.errors import (
    BlobForbidden,
    BlobNotFound,
    BlobUnavailable,
    BrokerUnavailable,
    DeliveryFailed,
    ImageTooLarge,
    OffsetsLost,
    TransactionLost,
    VeristreamError,
    WorkerFenced,
)
from stream.records import Outgoing, Partition, Record


def test_every_double_is_its_port():
    broker = MemoryBroker()
    consumer: ports.Consumer = MemoryConsumer(broker, "group")
    producer: ports.Producer = MemoryProducer(broker)
    committer: ports.Committer = MemoryCommitter(broker, "worker-1")
    blobs: ports.BlobStore = MemoryBlobs()
    cache: ports.VerdictCache = MemoryCache()
    clock: ports.Clock = ManualClock()
    assert all((consumer, producer, committer, blobs, cache, clock))


class Member:
    """A consumer that notes its assignment and, like a worker, commits what it read when it must give it up."""

    def __init__(
        self, broker: MemoryBroker, topics: list[str], name: str = "", *, commit_on_revoke: bool = True
    ) -> None:
        self.consumer = MemoryConsumer(broker, "readers", name)
        self.owned: set[Partition] = set()
        self.read: dict[Partition, int] = {}
        self.commit_on_revoke = commit_on_revoke
        self.consumer.subscribe(topics, on_assign=self.owned.update, on_revoke=self.give_up)

    def give_up(self, partitions: list[Partition]) -> None:
        done = {tp: self.read.pop(tp) for tp in partitions if tp in self.read}
        self.owned.difference_update(partitions)
        if done and self.commit_on_revoke:
            self.consumer.commit(done)

    def poll(self, limit: int = 100) -> list[Record]:
        records = self.consumer.poll(limit, 0.0)
        for record in records:
            self.read[record.tp] = record.offset + 1
        return records


def record(key: str, value: str = "", topic: str = "in") -> Outgoing:
    return Outgoing(topic, key.encode(), value.encode())


def committer(broker: MemoryBroker, transactional_id: str) -> MemoryCommitter:
    made = MemoryCommitter(broker, transactional_id)
    made.recover()
    return made


class Delivery(RuleBasedStateMachine):
    """Workers come, go, crash and are thrown out while they copy `in` to `out` in transactions."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker(partitions=3)
        self.producer = MemoryProducer(self.broker)
        self.sent: list[str] = []
        self.workers: list[Member] = []
        self.unfinished: dict[str, list[Record]] = defaultdict(list)
        self.names = 0

    @rule(key=st.sampled_from("abcdef"))
    def send(self, key):
        value = f"{key}{len(self.sent)}"
        self.sent.append(value)
        self.producer.send(record(key, value))

    @rule()
    def join(self):
        self.names += 1
        self.workers.append(Member(self.broker, ["in"], f"w{self.names}", commit_on_revoke=False))

    @rule(which=st.integers(0, 9), limit=st.integers(1, 5))
    def poll(self, which, limit):
        if self.workers:
            worker = self.workers[which % len(self.workers)]
            records = worker.poll(limit)
            pending = self.unfinished[worker.consumer.member]
            pending[:] = [r for r in pending if r.tp in worker.owned] + records

    @rule(
        which=st.integers(0, 9),
        fault=st.sampled_from([None, (BrokerUnavailable("injected"), False)])
        | st.tuples(st.just(TransactionLost("injected")), st.booleans()),
    )
    def commit(self, which, fault):
        if not self.workers or self.broker.away:
            return
        worker = self.workers[which % len(self.workers)]
        pending = self.unfinished[worker.consumer.member]
        if fault:
            self.broker.fail_next_commit(fault[0], applied=fault[1])
        outputs = [Outgoing("out", r.key, r.value) for r in pending]
        offsets = {r.tp: r.offset + 1 for r in pending}
        try:
            committer(self.broker, worker.consumer.member).commit(outputs, offsets, worker.consumer.group_metadata())
        except BrokerUnavailable:
            return
        except TransactionLost:
            worker.consumer.rewind()
        pending.clear()

    @rule(which=st.integers(0, 9), politely=st.booleans())
    def leave(self, which, politely):
        if self.workers:
            worker = self.workers.pop(which % len(self.workers))
            self.unfinished.pop(worker.consumer.member, None)
            if politely:
                worker.consumer.close()
            else:
                self.broker.expel("readers", worker.consumer.member)

    @rule(which=st.integers(0, 9))
    def expel(self, which):
        if self.workers:
            self.broker.expel("readers", self.workers[which % len(self.workers)].consumer.member)

    @rule()
    def outage(self):
        self.broker.away = not self.broker.away

    @invariant()
    def nothing_twice_and_keys_in_order(self):
        out = self.broker.records("out")
        assert not [value for value, times in Counter(r.value for r in out).items() if times > 1]
        for key in b"abcdef":
            values = [int(r.value[1:]) for r in out if r.key == bytes([key])]
            assert values == sorted(values)

    @invariant()
    def outputs_and_offsets_agree(self):
        assert len(self.broker.records("out")) == sum(self.broker.committed("readers").values())

    @invariant()
    def one_reader_a_partition(self):
        owners = self.broker.owners("readers")
        readers = {worker.consumer.member: worker.consumer for worker in self.workers}
        assert set(owners.values()) <= set(readers)
        assert all(tp in readers[member].assignment for tp, member in owners.items())

    def teardown(self):
        self.broker.away = False
        self.producer.flush(0)
        for worker in self.workers:
            self.broker.expel("readers", worker.consumer.member)
        last = Member(self.broker, ["in"], "last", commit_on_revoke=False)
        records = last.poll(10_000)
        committer(self.broker, "last").commit(
            [Outgoing("out", r.key, r.value) for r in records],
            {r.tp: r.offset + 1 for r in records},
            last.consumer.group_metadata(),
        )
        assert sorted(r.value.decode() for r in self.broker.records("out")) == sorted(self.sent)


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(members=st.integers(1, 5), partitions=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_partitions_are_shared_evenly_and_completely(members, partitions):
    broker = MemoryBroker(partitions=partitions)
    group = [Member(broker, ["in"], f"m{i}") for i in range(members)]
    for _ in range(2):
        for member in group:
            member.poll()
    owned = [tp for member in group for tp in member.owned]
    assert sorted(owned) == broker.partitions("in")
    assert max(len(m.owned) for m in group) - min(len(m.owned) for m in group) <= 1


def test_a_new_member_takes_over_only_what_was_given_up_and_reads_on_from_there():
    broker = MemoryBroker(partitions=2)
    producer = MemoryProducer(broker)
    for number in range(20):
        producer.send(record(f"key{number}", str(number)))
    first = Member(broker, ["in"], "first")
    seen = [r.value for r in first.poll()]
    second = Member(broker, ["in"], "second")
    assert second.poll() == []
    assert not second.owned
    first.poll()
    producer.send(record("late"))
    seen += [r.value for member in (first, second) for r in member.poll()]
    assert len(seen) == 21
    assert len(first.owned) == len(second.owned) == 1
    assert sum(broker.committed("readers").values()) > 0


def test_an_expelled_member_is_fenced_and_told_when_it_polls():
    broker = MemoryBroker(partitions=1)
    MemoryProducer(broker).send(record("a"))
    member = Member(broker, ["in"], "slow", commit_on_revoke=False)
    member.poll()
    stale = member.consumer.group_metadata()
    broker.expel("readers", "slow")
    with pytest.raises(TransactionLost, match="no longer owns in\\[0\\]"):
        committer(broker, "slow").commit([], {Partition("in", 0): 1}, stale)
    with pytest.raises(WorkerFenced):
        member.consumer.commit({Partition("in", 0): 1})
    assert broker.owners("readers") == {}
    assert [r.offset for r in member.poll()] == [0]
    assert member.consumer.group_metadata() != stale


def test_whoever_recovers_last_has_the_transactional_id():
    broker = MemoryBroker()
    first, second = committer(broker, "worker-1"), committer(broker, "worker-1")
    with pytest.raises(TransactionLost, match="another committer"):
        first.commit([record("a", topic="out")], {}, None)
    second.commit([record("b", topic="out")], {}, None)
    first.recover()
    first.commit([record("c", topic="out")], {}, None)
    assert sorted(r.key for r in broker.records("out")) == [b"b", b"c"]


def test_recovery_waits_for_the_broker_and_closing_ends_the_wait():
    broker = MemoryBroker()
    broker.away = True
    patient, closed = MemoryCommitter(broker, "patient"), MemoryCommitter(broker, "closed")
    with ThreadPoolExecutor(2) as pool:
        recovery, interrupted = pool.submit(patient.recover), pool.submit(closed.recover)
        closed.close()
        with pytest.raises(BrokerUnavailable, match="closed"):
            interrupted.result(60)
        with pytest.raises(BrokerUnavailable, match="switched off"):
            patient.commit([], {}, None)
        broker.away = False
        recovery.result(60)
    patient.commit([record("a", topic="out")], {}, None)
    assert len(broker.records("out")) == 1


def test_a_lost_answer_leaves_the_commit_done():
    broker = MemoryBroker()
    broker.fail_next_commit(TransactionLost("the broker's answer was lost"), applied=True)
    with pytest.raises(TransactionLost, match="answer was lost"):
        committer(broker, "w").commit([record("a", topic="out")], {}, None)
    assert len(broker.records("out")) == 1


def test_a_failed_commit_leaves_nothing_and_may_be_made_again():
    broker = MemoryBroker(partitions=1)
    MemoryProducer(broker).send(record("a"))
    member = Member(broker, ["in"])
    member.poll()
    producer = committer(broker, "w")
    call = ([record("a", topic="out")], {Partition("in", 0): 1}, member.consumer.group_metadata())
    broker.fail_next_commit(BrokerUnavailable("injected"))
    with pytest.raises(BrokerUnavailable, match="injected"):
        producer.commit(*call)
    assert broker.records("out") == []
    assert broker.committed("readers") == {}
    producer.commit(*call)
    assert broker.committed("readers") == {Partition("in", 0): 1}


def test_a_membership_from_elsewhere_is_a_mistake_in_the_test_itself():
    broker = MemoryBroker()
    with pytest.raises(TypeError, match="group_metadata"):
        committer(broker, "w").commit([], {Partition("in", 0): 1}, object())


def test_pause_resume_and_lag():
    broker = MemoryBroker(partitions=1)
    producer = MemoryProducer(broker)
    member = Member(broker, ["in"])
    member.poll()
    place = [Partition("in", 0)]
    member.consumer.pause(place)
    producer.send(record("a"))
    assert member.poll() == []
    assert member.consumer.lag(place) == 1
    member.consumer.resume(place)
    assert len(member.poll()) == 1
    assert member.consumer.lag(place) == 0


def test_lost_offsets_are_said_not_skipped():
    broker = MemoryBroker(partitions=1)
    producer = MemoryProducer(broker)
    for key in "abc":
        producer.send(record(key))
    first = Member(broker, ["in"])
    first.poll(1)
    first.consumer.close()
    assert broker.committed("readers") == {Partition("in", 0): 1}
    broker.truncate(Partition("in", 0), 2)
    with pytest.raises(OffsetsLost, match="offset 1 is gone, the oldest is 2"):
        Member(broker, ["in"]).poll()


def test_poll_wakes_up_for_a_record_and_for_the_brokers_return():
    broker = MemoryBroker()
    member = Member(broker, ["in"])
    broker.away = True
    producer = MemoryProducer(broker)
    outcomes: list[VeristreamError | None] = []
    producer.send(record("a"), outcomes.append)
    assert producer.flush(0.1) == 1
    assert outcomes == []
    found: list[Record] = []
    thread = threading.Thread(target=lambda: found.extend(member.consumer.poll(10, 30.0)))
    thread.start()
    broker.away = False
    producer.close()
    thread.join(60)
    assert [r.key for r in found] == [b"a"]
    assert outcomes == [None]


def test_a_refused_record_reaches_its_callback_and_no_topic():
    broker = MemoryBroker()
    producer = MemoryProducer(broker)
    outcomes: list[VeristreamError | None] = []
    refusal = DeliveryFailed("too large")
    broker.refuse_next_send(refusal)
    producer.send(record("a"), outcomes.append)
    producer.send(record("b"), outcomes.append)
    assert outcomes == [refusal, None]
    assert [r.key for r in broker.records("in")] == [b"b"]


def test_records_keep_headers_time_and_their_keys_partition():
    clock = ManualClock(start=1000.0)
    broker = MemoryBroker(clock=clock)
    producer = MemoryProducer(broker)
    producer.send(Outgoing("in", b"k", None, (("h", b"1"), ("h", b"2"))))
    clock.advance(2.5)
    producer.send(Outgoing("in", b"k", b"v"))
    for _ in range(4):
        producer.send(Outgoing("other", None, b"v"))
    first, second = broker.records("in")
    assert first.headers == (("h", b"1"), ("h", b"2"))
    assert (first.timestamp_ms, second.timestamp_ms) == (1_000_000, 1_002_500)
    assert first.tp == second.tp
    assert {r.partition for r in broker.records("other")} == {0, 1, 2, 3}


def test_two_groups_read_everything_each():
    broker = MemoryBroker()
    MemoryProducer(broker).send(record("a"))
    for group in ("one", "two"):
        consumer = MemoryConsumer(broker, group)
        assert consumer.poll(1, 0.0) == []
        consumer.subscribe(["in"], on_assign=lambda _: None, on_revoke=lambda _: None)
        assert len(consumer.poll(1, 0.0)) == 1


def test_blobs():
    blobs = MemoryBlobs()
    uri = blobs.write("a/b", b"1234", media_type="image/png")
    assert blobs.read(uri, limit=4) == b"1234"
    with pytest.raises(ImageTooLarge):
        blobs.read(uri, limit=3)
    with pytest.raises(BlobNotFound):
        blobs.read("memory://other", limit=3)
    with pytest.raises(BlobForbidden):
        blobs.read("file:///etc/passwd", limit=3)
    blobs.away = True
    with pytest.raises(BlobUnavailable):
        blobs.read(uri, limit=4)


def test_cache():
    cache = MemoryCache()
    cache.put_many({"a": b"1"})
    assert cache.get_many(["b", "a"]) == [None, b"1"]
    cache.away = True
    cache.put_many({"b": b"2"})
    assert cache.get_many(["a"]) == [None]
    assert cache.entries == {"a": b"1"}


def test_the_clock_moves_only_forward_and_only_when_told():
    clock = ManualClock(start=5.0)
    assert (clock.now(), clock.monotonic()) == (5.0, 0.0)
    clock.advance(1.5)
    assert (clock.now(), clock.monotonic()) == (6.5, 1.5)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
