"""Faust's way to Kafka, set right: only committed records, every one of them, at the addresses our settings hold.

Faust reads uncommitted records unless its exactly-once mode is on, which has open faults of its own; embeddings and
verdicts are written in transactions, so an aborted one would be counted. Faust 0.15 has no setting for either that or
the time an idle fetch may take, so the consumer is told before it starts.

When its table has been read back, Faust lets records come, seeks to the committed offsets and then empties the agents'
queues. Whatever was put there between the seek and the emptying is gone: it counts as read, so that the next fetch
passes over it. Here nothing comes before Faust says that it is ready.
"""

import ssl
from collections.abc import Iterable

import aiokafka  # type: ignore[import-untyped]
import faust
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.settings import KafkaSettings

_IDLE_FETCH_MS = 100


class _Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = _IDLE_FETCH_MS
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        # Whoever calls this calls `resume_flow` as soon as records may come.
        self.stop_flow()
        super().resume_partitions(tps)


class CommittedTransport(driver.Transport):
    """Faust's aiokafka transport, reading what was committed."""

    Consumer = _Consumer


def addresses(settings: KafkaSettings) -> list[str]:
    """The brokers as Faust wants them."""
    return [f"kafka://{address.strip()}" for address in settings.bootstrap.split(",")]


def credentials(settings: KafkaSettings) -> Credentials | None:
    """Who we are, and how the connection is encrypted; None for plain text."""
    protocol = settings.security_protocol
    if protocol == "PLAINTEXT":
        return None
    context = None
    if protocol.endswith("SSL"):
        location = settings.ssl_ca_location
        context = ssl.create_default_context(cafile=str(location) if location else None)
    if protocol == "SSL":
        return SSLCredentials(context)
    return SASLCredentials(
        username=settings.sasl_username,
        password=settings.sasl_password.get_secret_value(),
        mechanism=settings.sasl_mechanism,
        # With a context Faust says SASL_SSL, without one SASL_PLAINTEXT.
        ssl_context=context,
    )


def use(app: faust.App) -> None:
    """Makes an application read through `CommittedTransport`."""
    app.transport = CommittedTransport(app.conf.broker_consumer, app)
