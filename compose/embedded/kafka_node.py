"""One real Apache Kafka 4 node, broker and controller in one (KRaft), from an unpacked distribution's ``libs/``."""

import base64
import json
import logging
import os
import shutil
import socket
import uuid
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from compose.embedded.processes import ChildProcess, last_lines
from stream.errors import BrokerError, BrokerUnavailable, ConfigurationError

HOME_VARIABLE = "KAFKA_HOME"
_READY_S = 60.0
_FORMAT_S = 60.0
_PROBE_S = 1.0
_STOP_S = 15.0
_CREATE_S = 15.0
_LOOPBACK = "127.0.0.1"
_log = logging.getLogger(__name__)


class KafkaNode:
    """A node for as long as the ``with`` block lasts; its topics survive in ``data_dir``.

    `kill` and `start` are a broker crash: same port, same records, writes accepted again after some 4 s. `stop` is
    clean. Topics are not created by themselves; records may have up to 2 MB. Its log is ``DATA_DIR/server.log``.

    Args:
        home: An unpacked Apache Kafka 4 distribution; only ``libs/`` is used.
        data_dir: Formatted on first use; on later ones the node has the same port and data.
        heap_mib: The JVM's largest heap.
        login: Name and password that a second listener, ``sasl_bootstrap``, asks for: PLAIN and SCRAM-SHA-512 over
            SASL_PLAINTEXT. Not with a double quote, a comma or a bracket in them.

    Raises:
        ConfigurationError: ``home`` is not such a distribution, or there is no Java of version 17 or newer.
        BrokerUnavailable: The node ended or did not answer within a minute; the message ends with its log's tail.
    """

    def __init__(
        self, home: Path, data_dir: Path, *, heap_mib: int = 384, login: tuple[str, str] | None = None
    ) -> None:
        self._login = login
        self._libs = _libraries(home)
        self._java = _java()
        self._data = data_dir.resolve()
        self._data.mkdir(parents=True, exist_ok=True)
        port, controller, sasl = self._ports()
        self.bootstrap = f"{_LOOPBACK}:{port}"
        self.sasl_bootstrap = f"{_LOOPBACK}:{sasl}" if login is not None else ""
        self._write_properties(controller)
        self._write_logging()
        self._format()
        arguments = [f"-Xmx{heap_mib}m", "-Xms64m", "kafka.Kafka", str(self._properties_path)]
        self._process = ChildProcess("kafka", self._command(*arguments), self._data, failure=BrokerUnavailable)
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The JVM's process id."""
        return self._process.pid

    def start(self) -> None:
        """Starts it, again after `kill` or `stop`, on the same port and data; returns once it answers clients."""
        self._process.start()
        try:
            self._process.wait_until(self._answers, _READY_S)
        except BrokerUnavailable as error:
            self._explain_java(self._process.tail())
            log = self._data / "server.log"
            tail = f"{self._process.tail()}\n{last_lines(log) if log.exists() else ''}".strip()
            remedy = f"Its last words:\n{tail}"
            raise BrokerUnavailable(error.what, where=str(self._data / "server.log"), remedy=remedy) from error

    def create_topic(self, name: str, partitions: int) -> None:
        """Makes a topic; one that exists already is left as it is.

        Raises:
            BrokerError: The name or the number of partitions was refused.
        """
        client = self._client()
        try:
            client.create_topics([NewTopic(name, partitions, 1)])[name].result(_CREATE_S)
        except KafkaException as error:
            code: KafkaError = error.args[0]
            if code.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                what = f"topic {name} with {partitions} partitions was refused: {code.str()}"
                raise BrokerError(what, where=self.bootstrap) from error

    def stop(self) -> None:
        """Stops it cleanly (SIGTERM; killed if that takes over 15 s). The data stay."""
        self._process.terminate(_STOP_S)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        self._process.kill()

    @property
    def _properties_path(self) -> Path:
        return self._data / "server.properties"

    def _command(self, *arguments: str) -> list[str]:
        logging_file = f"-Dlog4j2.configurationFile={self._data / 'log4j2.properties'}"
        # A node that lives for minutes: the cheap collector and the first compiler tier start fastest. Without
        # UsePerfData the JVM leaves no file in the system's temporary folder, should it be killed.
        flags = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData", logging_file]
        return [self._java, *flags, "-cp", f"{self._libs}/*", *arguments]

    def _ports(self) -> list[int]:
        """The ports of the last start on this data, or three free ones."""
        path = self._data / "ports.json"
        if not path.exists():
            with ExitStack() as held:
                free = [held.enter_context(socket.socket()) for _ in range(3)]
                for one in free:
                    one.bind((_LOOPBACK, 0))
                path.write_text(json.dumps([one.getsockname()[1] for one in free]))
        ports: list[int] = json.loads(path.read_text())
        return ports

    def _write_properties(self, controller: int) -> None:
        listeners = f"PLAINTEXT://{self.bootstrap}"
        if self._login is not None:
            listeners += f",SASL_PLAINTEXT://{self.sasl_bootstrap}"
        properties = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"{listeners},CONTROLLER://{_LOOPBACK}:{controller}",
            "advertised.listeners": listeners,
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"{_LOOPBACK}:{controller}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "log.dirs": self._data / "log",
            # One node: every internal topic has one replica, and few partitions so that it starts quickly.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "auto.create.topics.enable": "false",
            # An inline image of 1 MiB with its headers.
            "message.max.bytes": 2_000_000,
            "group.initial.rebalance.delay.ms": 0,
            # Whoever wants a killed member's partitions back soon may say so; Kafka's own least is 6 s.
            "group.min.session.timeout.ms": 1000,
            # After a crash the controller must see the old session expire before the node may serve again.
            "broker.heartbeat.interval.ms": 300,
            "broker.session.timeout.ms": 1500,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            **self._authentication(),
        }
        self._properties_path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def _authentication(self) -> dict[str, str]:
        if self._login is None:
            return {}
        name, password = self._login
        listener, modules = "listener.name.sasl_plaintext", "org.apache.kafka.common.security"
        plain = f'{modules}.plain.PlainLoginModule required user_{name}="{password}";'
        return {
            f"{listener}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            f"{listener}.plain.sasl.jaas.config": plain,
            f"{listener}.scram-sha-512.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;",
        }

    def _write_logging(self) -> None:
        lines = {
            "appender.log.type": "File",
            "appender.log.name": "log",
            "appender.log.fileName": self._data / "server.log",
            "appender.log.layout.type": "PatternLayout",
            "appender.log.layout.pattern": "%d{ISO8601} %-5p %c{1} %m%n",
            "rootLogger.level": "warn",
            "rootLogger.appenderRef.log.ref": "log",
        }
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        (self._data / "log4j2.properties").write_text(text)

    def _format(self) -> None:
        """Gives the data folder its cluster id, once."""
        if (self._data / "log" / "meta.properties").exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # A Kafka id may not begin with a dash: its own tools would read it as a flag.
        arguments = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster}"]
        arguments += ["-c", str(self._properties_path)]
        if self._login is not None:
            arguments.append("--add-scram=SCRAM-SHA-512=[name={},password={}]".format(*self._login))
        process = ChildProcess("format", self._command("-Xmx128m", *arguments), self._data, failure=BrokerUnavailable)
        with process:
            process.start()
            if process.wait(_FORMAT_S) != 0:
                self._explain_java(process.tail())
                raise BrokerUnavailable(
                    "Kafka could not format its data folder",
                    where=str(self._data),
                    remedy=f"Its last words:\n{process.tail()}",
                )

    def _explain_java(self, output: str) -> None:
        if "UnsupportedClassVersionError" in output:
            raise ConfigurationError(
                "this Java is too old for Kafka 4",
                where=self._java,
                remedy="Install Java 17 or newer, or set JAVA_HOME",
            )

    def _answers(self) -> bool:
        host, _, port = self.bootstrap.partition(":")
        with socket.socket() as probe:
            probe.settimeout(_PROBE_S)
            if probe.connect_ex((host, int(port))) != 0:
                return False
        try:
            return bool(self._client().list_topics(timeout=_PROBE_S).brokers)
        except KafkaException as error:
            _log.debug("not ready yet: %s", error)
            return False

    def _client(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}, logger=_log)


def kafka_home() -> Path:
    """The distribution that ``KAFKA_HOME`` names.

    Raises:
        ConfigurationError: It is not set, or names no Kafka.
    """
    named = os.environ.get(HOME_VARIABLE, "")
    if not named:
        raise ConfigurationError(
            f"{HOME_VARIABLE} is not set", remedy="Let it name an unpacked Apache Kafka 4 distribution"
        )
    return _libraries(Path(named)).parent


def _libraries(home: Path) -> Path:
    libs = home.resolve() / "libs"
    if not any(libs.glob("kafka_*.jar")):
        raise ConfigurationError(
            "there is no Apache Kafka to start",
            where=str(libs),
            remedy=f"Let {HOME_VARIABLE} name an unpacked Apache Kafka 4 distribution with its libs/ folder",
        )
    return libs


def _java() -> str:
    at_home = Path(os.environ.get("JAVA_HOME", "")) / "bin" / "java"
    found = str(at_home) if os.environ.get("JAVA_HOME") and at_home.is_file() else shutil.which("java")
    if found is None:
        raise ConfigurationError("there is no java on PATH", remedy="Install Java 17 or newer, or set JAVA_HOME")
    return found
