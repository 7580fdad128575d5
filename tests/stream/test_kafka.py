import time
import uuid
from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError
from pydantic import SecretStr

from compose.embedded.broker import Api, EmbeddedBroker
from compose.embedded.kafka_node import KafkaNode
from stream.consumer import KafkaConsumer
from stream.errors import BrokerUnavailable, DeliveryFailed, OffsetsLost, TransactionLost, VeristreamError, WorkerFenced
from stream.kafka import KafkaProducer, client_config, consumer_config, explain
from stream.records import Outgoing, Partition, Record
from stream.settings import KafkaSettings
from stream.transactions import AtLeastOnce, ExactlyOnce
from tests.stream.loop_harness import Echo

Eventually = Callable[..., None]
Broker = EmbeddedBroker | KafkaNode


@pytest.fixture
def names(any_broker: Broker) -> tuple[str, str, str]:
    """Topics to read and to write, and a group: of this test alone."""
    mark = uuid.uuid4().hex[:8]
    any_broker.create_topic(f"in-{mark}", 4)
    any_broker.create_topic(f"out-{mark}", 4)
    return f"in-{mark}", f"out-{mark}", f"group-{mark}"


@pytest.fixture
def kafka(any_broker: Broker) -> KafkaSettings:
    return (
        embedded(any_broker)
        if isinstance(any_broker, EmbeddedBroker)
        else KafkaSettings(bootstrap=any_broker.bootstrap)
    )


def embedded(broker: EmbeddedBroker) -> KafkaSettings:
    """A group of the embedded broker changes its members only after about this session time-out."""
    return KafkaSettings(bootstrap=broker.bootstrap, session_timeout_ms=3000, embedded=True)


def send(kafka: KafkaSettings, topic: str, count: int, first: int = 0) -> None:
    producer = KafkaProducer(kafka, client_id="test")
    for n in range(first, first + count):
        producer.send(Outgoing(topic, str(n).encode(), b"x" * 100, (("h", b"v"), ("empty", b""))))
    producer.close()


def read(kafka: KafkaSettings, topic: str, count: int) -> list[Record]:
    """Reads until records of ``count`` keys are there and nothing more comes: a repeated one stands for no other."""
    consumer = KafkaConsumer(kafka, group=f"reader-{uuid.uuid4().hex}", client_id="reader")
    consumer.subscribe([topic], on_assign=lambda _: None, on_revoke=lambda _: None)
    records: list[Record] = []
    give_up = time.monotonic() + 60
    quiet_since = time.monotonic()
    keys: set[bytes | None] = set()
    while time.monotonic() < give_up and (len(keys) < count or time.monotonic() < quiet_since + 0.5):
        if more := consumer.poll(100, 0.05):
            records += more
            keys.update(one.key for one in more)
            quiet_since = time.monotonic()
    consumer.close()
    return records


def once(count: int) -> Counter[bytes | None]:
    return Counter(str(n).encode() for n in range(count))


def worker(kafka: KafkaSettings, names: tuple[str, str, str], name: str) -> Echo:
    consumer = KafkaConsumer(kafka, group=names[2], client_id=name)
    return Echo(consumer, ExactlyOnce(kafka, transactional_id=name, consumer=consumer), topics=[names[0]], out=names[1])


class TestExactlyOnce:
    def test_every_record_is_answered_once(
        self, kafka: KafkaSettings, names: tuple[str, str, str], eventually: Eventually
    ) -> None:
        send(kafka, names[0], 300)
        with worker(kafka, names, names[2]) as echo:
            eventually(lambda: len(echo.accepted) == 300)
            echo.stop()
        answers = read(kafka, names[1], 300)
        assert Counter(record.key for record in answers) == once(300)
        assert echo.accepted[0].headers == (("h", b"v"), ("empty", b""))
        assert echo.accepted[0].timestamp_ms > 0

    def test_two_workers_hand_over(
        self, kafka: KafkaSettings, names: tuple[str, str, str], eventually: Eventually
    ) -> None:
        send(kafka, names[0], 100)
        with worker(kafka, names, f"{names[2]}-1") as one:
            eventually(lambda: len(one.accepted) == 100)
            with worker(kafka, names, f"{names[2]}-2") as two:
                eventually(lambda: bool(one.forgotten))
                send(kafka, names[0], 100, first=100)
                eventually(lambda: len({r.key for r in one.accepted + two.accepted}) == 200)
                two.stop()
            send(kafka, names[0], 100, first=200)
            eventually(lambda: len({r.key for r in one.accepted + two.accepted}) == 300)
            one.stop()
        assert two.accepted
        assert Counter(record.key for record in read(kafka, names[1], 300)) == once(300)

    def test_who_reads_on_starts_where_the_last_one_ended(
        self, kafka: KafkaSettings, names: tuple[str, str, str], eventually: Eventually
    ) -> None:
        for life in range(2):
            send(kafka, names[0], 50, first=50 * life)
            with worker(kafka, names, names[2]) as echo:
                eventually(lambda: len(echo.accepted) == 50)
                echo.stop()
        assert Counter(record.key for record in read(kafka, names[1], 100)) == once(100)

    def test_a_transaction_before_recovery_is_refused(self, kafka: KafkaSettings) -> None:
        with pytest.raises(TransactionLost, match="no transaction was opened"):
            ExactlyOnce(kafka, transactional_id="t").commit([], {}, None)

    @pytest.mark.kafka
    def test_a_record_the_broker_refuses_stops_it(self, kafka_node: KafkaNode, eventually: Eventually) -> None:
        kafka = KafkaSettings(bootstrap=kafka_node.bootstrap)
        committer = ExactlyOnce(kafka, transactional_id=uuid.uuid4().hex)
        committer.recover()
        with pytest.raises(DeliveryFailed, match="refuses"):
            committer.commit([Outgoing("any", b"k", b"x" * 5 * 1024 * 1024)], {}, None)
        committer.close()

    @pytest.mark.kafka
    def test_a_topic_that_does_not_exist_stops_it_and_says_so(
        self, kafka_node: KafkaNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # librdkafka waits five seconds for the topic; a busy machine shall not make that an unanswered transaction.
        monkeypatch.setattr("stream.transactions._DEADLINE_S", 60.0)
        kafka, name = KafkaSettings(bootstrap=kafka_node.bootstrap), uuid.uuid4().hex
        consumer = KafkaConsumer(kafka, group=name, client_id=name)
        consumer.poll(1, 0)
        committer = ExactlyOnce(kafka, transactional_id=name)
        committer.recover()
        with pytest.raises(DeliveryFailed, match="veristream topics"):
            committer.commit([Outgoing(f"none-{name}", b"k", b"x")], {}, consumer.group_metadata())
        committer.close()
        consumer.close()

    @pytest.mark.kafka
    def test_two_workers_of_one_id_end_with_one_fenced(self, kafka_node: KafkaNode) -> None:
        kafka = KafkaSettings(bootstrap=kafka_node.bootstrap)
        name = uuid.uuid4().hex
        kafka_node.create_topic(name, 1)
        consumer = KafkaConsumer(kafka, group=name, client_id=name)
        consumer.subscribe([name], on_assign=lambda _: None, on_revoke=lambda _: None)
        send(kafka, name, 1)
        while not consumer.poll(1, 0.1):
            pass
        old, new = (ExactlyOnce(kafka, transactional_id=name) for _ in range(2))
        old.recover()
        offsets = {Partition(name, 0): 1}
        with pytest.raises(WorkerFenced, match="taken over"):  # noqa: PT012
            for _ in range(10):
                new.recover()
                with pytest.raises(TransactionLost):
                    old.commit([Outgoing(name, b"k", b"v")], offsets, consumer.group_metadata())
                old.recover()
        consumer.close()


class TestAtLeastOnce:
    def test_answers_come_and_offsets_follow(
        self, kafka: KafkaSettings, names: tuple[str, str, str], eventually: Eventually
    ) -> None:
        send(kafka, names[0], 50)
        consumer = KafkaConsumer(kafka, group=names[2], client_id="a")
        committer = AtLeastOnce(KafkaProducer(kafka, client_id="a"), consumer)
        with Echo(consumer, committer, topics=[names[0]], out=names[1]) as echo:
            eventually(lambda: echo.count("veristream_in_flight_records") == 0 and len(echo.accepted) == 50)
            echo.stop()
        assert {record.key for record in read(kafka, names[1], 50)} == set(once(50))


class TestFaults:
    def test_a_broker_that_goes_away_and_returns_costs_nothing(
        self, broker: EmbeddedBroker, eventually: Eventually
    ) -> None:
        broker.create_topic("in", 2)
        broker.create_topic("out", 2)
        kafka = embedded(broker)
        with worker(kafka, ("in", "out", "group"), "w") as echo:
            send(kafka, "in", 20)
            eventually(lambda: len(echo.accepted) == 20)
            broker.down()
            broker.up()
            send(kafka, "in", 20, first=20)
            eventually(lambda: len({record.key for record in echo.accepted}) == 40)
            answers = read(kafka, "out", 40)
            echo.stop()
        assert set(once(40)) == {record.key for record in answers}

    @pytest.mark.kafka
    def test_a_broker_that_crashes_and_returns_costs_no_answer_and_repeats_none(
        self, kafka_node: KafkaNode, eventually: Eventually
    ) -> None:
        mark = uuid.uuid4().hex[:8]
        for topic in (f"in-{mark}", f"out-{mark}"):
            kafka_node.create_topic(topic, 2)
        kafka = KafkaSettings(bootstrap=kafka_node.bootstrap)
        with worker(kafka, (f"in-{mark}", f"out-{mark}", mark), mark) as echo:
            send(kafka, f"in-{mark}", 50)
            eventually(lambda: len(echo.accepted) == 50)
            kafka_node.kill()
            kafka_node.start()
            send(kafka, f"in-{mark}", 50, first=50)
            eventually(lambda: len({record.key for record in echo.accepted}) == 100)
            answers = read(kafka, f"out-{mark}", 100)
            echo.stop()
        assert Counter(record.key for record in answers) == once(100)

    def test_a_refused_offset_commit_is_aborted_and_made_again(
        self, broker: EmbeddedBroker, eventually: Eventually
    ) -> None:
        broker.create_topic("in", 1)
        broker.create_topic("out", 1)
        kafka = embedded(broker)
        with worker(kafka, ("in", "out", "group"), "w") as echo:
            send(kafka, "in", 5)
            eventually(lambda: echo.count("veristream_transactions_total", outcome="committed") > 0)
            broker.inject_errors(Api.TXN_OFFSET_COMMIT, KafkaError.ILLEGAL_GENERATION)
            send(kafka, "in", 5, first=5)
            eventually(lambda: echo.count("veristream_transactions_total", outcome="aborted") > 0)
            eventually(lambda: echo.count("veristream_in_flight_records") == 0)
            echo.stop()
        assert {record.key for record in read(kafka, "out", 10)} == set(once(10))

    def test_committed_offsets_that_are_gone_stop_the_reader(self, broker: EmbeddedBroker) -> None:
        broker.create_topic("in", 1)
        kafka = embedded(broker)
        first = KafkaConsumer(kafka, group="group", client_id="c")
        first.commit({Partition("in", 0): 1000})
        first.close()
        consumer = KafkaConsumer(kafka, group="group", client_id="c")
        consumer.subscribe(["in"], on_assign=lambda _: None, on_revoke=lambda _: None)
        with pytest.raises(OffsetsLost, match=r"no longer in the topic.*by hand"):
            poll_for_ever(consumer)
        consumer.close()

    def test_a_latest_reader_skips_what_was_there(self, broker: EmbeddedBroker) -> None:
        broker.create_topic("in", 1)
        kafka = embedded(broker)
        send(kafka, "in", 3)
        assigned: list[Partition] = []
        consumer = KafkaConsumer(kafka, group="group", client_id="c", start="latest")
        consumer.subscribe(["in"], on_assign=assigned.extend, on_revoke=lambda _: None)
        records: list[Record] = []
        later = 3
        while not records:
            records += consumer.poll(10, 0.05)
            if assigned:
                # Where the end was is asked of the broker meanwhile, so what is sent too early is skipped as well.
                send(kafka, "in", 1, first=later)
                later += 1
        assert int(records[0].key or b"") >= 3
        consumer.rewind()
        consumer.close()

    def test_a_producer_says_what_was_not_acknowledged(self, broker: EmbeddedBroker) -> None:
        broker.create_topic("in", 1)
        told: list[VeristreamError | None] = []
        producer = KafkaProducer(KafkaSettings(bootstrap=broker.bootstrap, embedded=True), client_id="p")
        broker.inject_errors(Api.PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED)
        producer.send(Outgoing("in", b"k", b"v"), told.append)
        assert producer.flush(60) == 0
        assert isinstance(told[0], DeliveryFailed)
        with pytest.raises(DeliveryFailed, match="refused"):
            producer.send(Outgoing("in", b"k", b"x" * 5 * 1024 * 1024))
        producer.close()


def poll_for_ever(consumer: KafkaConsumer) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        consumer.poll(10, 0.1)


class TestSettings:
    def test_credentials_reach_the_client_and_nothing_else(self) -> None:
        settings = KafkaSettings(
            security_protocol="SASL_SSL", sasl_username="u", sasl_password=SecretStr("hush"), ssl_ca_location="/ca.pem"
        )
        config = client_config(settings, "c")
        assert (config["sasl.username"], config["sasl.password"]) == ("u", "hush")
        assert config["ssl.ca.location"] == "/ca.pem"
        assert "hush" not in repr(settings)
        assert "sasl.username" not in client_config(KafkaSettings(), "c")

    def test_static_membership_is_asked_for_by_name(self) -> None:
        assert "group.instance.id" not in consumer_config(KafkaSettings(), group="g", client_id="c")
        config = consumer_config(KafkaSettings(static_membership=True), group="g", client_id="c")
        assert config["group.instance.id"] == "c"

    @pytest.mark.parametrize(
        ("code", "retryable", "words"),
        [
            (KafkaError._ALL_BROKERS_DOWN, True, "VERISTREAM_KAFKA__BOOTSTRAP"),
            (KafkaError.TOPIC_AUTHORIZATION_FAILED, False, "ACL"),
            (KafkaError.INVALID_CONFIG, False, "reading"),
        ],
    )
    def test_errors_are_explained(self, code: int, retryable: bool, words: str) -> None:
        error = explain(KafkaError(code), "reading", "broker:9092")
        assert error.retryable is retryable
        assert isinstance(error, BrokerUnavailable) is retryable
        assert words in str(error)
        assert "broker:9092" in str(error)
