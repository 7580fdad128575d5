"""Real parts for every test: brokers, Redis, object stores, and one way to wait for something."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from hypothesis import HealthCheck, settings
from moto import mock_aws

from compose.embedded.broker import EmbeddedBroker
from compose.embedded.kafka_node import HOME_VARIABLE, KafkaNode
from compose.embedded.processes import ChildProcess
from compose.embedded.redis_server import RedisServer

S3_EXECUTABLE, DATA_FOLDER = os.environ.get("VERISTREAM_TEST_S3", ""), os.environ.get("VERISTREAM_TEST_DATA", "")
REGION = "us-east-1"
BUCKET = "pictures"
LOGIN = ("veristream", "a pass=word")
_READY_S = 60.0

Eventually = Callable[..., None]

# A busy machine is no fault of the code: examples have no deadline and may be slow to make.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@dataclass(frozen=True)
class Bucket:
    """An S3 bucket to test with. ``endpoint`` is empty where boto3's calls are answered inside this process."""

    endpoint: str
    name: str
    access_key: str
    secret_key: str

    def client(self):
        """A boto3 client for it; the caller closes it."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint or None,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"total_max_attempts": 2}),
        )


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Torch leaves a folder wherever it may."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path_factory.mktemp("torch"))


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """One embedded broker for the whole run: for tests that only read, or name their topics themselves."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A fresh embedded broker (about 2 ms): empty, and free to be broken."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """One real Apache Kafka for the whole run; name topics and groups yourself. A second listener wants `LOGIN`."""
    home = os.environ.get(HOME_VARIABLE, "")
    if not home:
        pytest.skip(f"{HOME_VARIABLE} names no Apache Kafka 4 distribution")
    with KafkaNode(Path(home), tmp_path_factory.mktemp("kafka"), login=LOGIN) as node:
        yield node


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def any_broker(request: pytest.FixtureRequest) -> EmbeddedBroker | KafkaNode:
    """Each kind of broker in turn; both have ``bootstrap`` and ``create_topic(name, partitions)``."""
    return request.getfixturevalue("broker" if request.param == "embedded" else "kafka_node")


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A fresh private Redis (about 30 ms)."""
    with RedisServer() as server:
        yield server


def _make(bucket: Bucket) -> Bucket:
    client = bucket.client()
    client.create_bucket(Bucket=bucket.name)
    client.close()
    return bucket


@pytest.fixture
def s3_moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket that moto keeps inside this process; other processes do not see it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield _make(Bucket("", BUCKET, "test", "testsecret"))


@pytest.fixture
def s3_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket on a real S3 server of its own."""
    if not S3_EXECUTABLE:
        pytest.skip("VERISTREAM_TEST_S3 names no S3 server (versitygw)")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    data, metadata = tmp_path / "s3-data", tmp_path / "s3-metadata"
    data.mkdir()
    metadata.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{1}".format(*free.getsockname())
    command = [S3_EXECUTABLE, "--port", address, "posix", "--sidecar", str(metadata), str(data)]
    keys = {"ROOT_ACCESS_KEY_ID": "test", "ROOT_SECRET_ACCESS_KEY": "testsecret"}
    with ChildProcess("s3", command, tmp_path, env=keys) as server:
        server.start()
        host, _, port = address.partition(":")

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0

        server.wait_until(listens, _READY_S)
        yield _make(Bucket(f"http://{address}", BUCKET, "test", "testsecret"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of training zips."""
    if not DATA_FOLDER:
        pytest.skip("VERISTREAM_TEST_DATA names no folder of training pictures")
    return Path(DATA_FOLDER)


@pytest.fixture
def eventually() -> Eventually:
    """``eventually(condition, deadline_s=60)``: waits until ``condition()`` is true, fails with its name otherwise."""

    def wait(condition: Callable[[], object], deadline_s: float = 60.0) -> None:
        give_up = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > give_up:
                pytest.fail(f"not within {deadline_s:g} s: {getattr(condition, '__name__', condition)}")
            time.sleep(0.01)

    return wait
