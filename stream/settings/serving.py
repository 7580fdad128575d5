"""Settings of what answers uploads: Kafka, topics, Redis, blobs, the worker, pictures, telemetry."""

import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from stream.settings.group import Group

MIB = 1024 * 1024


class KafkaSettings(Group):
    """How to reach Kafka; the names are librdkafka's own."""

    bootstrap: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: SecretStr = SecretStr("")
    ssl_ca_location: Path | None = None
    embedded: Annotated[bool, Field(description="The broker is the embedded one; set by the demo")] = False
    static_membership: Annotated[bool, Field(description="Keep partitions over a quick restart")] = False
    session_timeout_ms: Annotated[int, Field(ge=1000)] = 10_000
    transaction_timeout_ms: Annotated[int, Field(ge=1000)] = 15_000


class TopicSettings(Group):
    """How topics are named and laid out when `veristream topics ensure` creates them."""

    prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]*$")] = ""
    partitions: Annotated[int, Field(ge=1, le=1000)] = 8
    replication: Annotated[int, Field(ge=1, le=9)] = 1


class RedisSettings(Group):
    """The verdict cache and other views that can be rebuilt."""

    enabled: bool = True
    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    timeout_ms: Annotated[int, Field(ge=1)] = 50
    ttl_s: Annotated[int, Field(ge=1)] = 86_400


class BlobSettings(Group):
    """Where claim checks may point, and where this project's own blobs go."""

    store: Annotated[
        str, Field(description="file:///folder or s3://bucket/prefix for writing; empty: no claim checks")
    ] = ""
    allowed_roots: Annotated[tuple[Path, ...], Field(description="Folders that file:// may name")] = ()
    allowed_buckets: Annotated[tuple[str, ...], Field(description="Buckets that s3:// may name; empty: none")] = ()
    s3_endpoint: Annotated[str, Field(description="Empty: Amazon's own")] = ""
    s3_region: str = "us-east-1"
    s3_access_key: SecretStr = SecretStr("")
    s3_secret_key: SecretStr = SecretStr("")
    timeout_s: Annotated[float, Field(gt=0)] = 5.0
    inline_limit: Annotated[int, Field(ge=0, description="Bytes up to which a producer sends a picture inline")] = (
        256 * 1024
    )


class BreakerSettings(Group):
    """When dead letters mean a bad deploy rather than bad pictures."""

    consecutive: Annotated[int, Field(ge=1)] = 100
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    window: Annotated[int, Field(ge=1, description="Records the share is taken over")] = 500


class WorkerSettings(Group):
    """The classify worker."""

    group: str = "veristream-classify"
    id: Annotated[str, Field(min_length=1, description="Stable over restarts, unique per worker")] = (
        socket.gethostname()
    )
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    bundle: Annotated[str, Field(description="`default`, or a path to a bundle folder or tar")] = "default"
    provider: Annotated[
        Literal["auto", "tensorrt", "cuda", "openvino", "cpu"],
        Field(description="auto: what the bundle was measured to be quickest on, if it is to be had"),
    ] = "auto"
    intra_op_threads: Annotated[
        int | None, Field(ge=1, description="Unset: as the bundle was measured to be quickest, else 1")
    ] = None
    decode_threads: Annotated[int, Field(ge=1)] = 2
    latency_objective_ms: Annotated[float, Field(gt=0)] = 250.0
    max_batch: Annotated[
        int | None, Field(ge=1, description="Unset: as the bundle was measured to be quickest, else 64")
    ] = None
    max_in_flight: Annotated[int, Field(ge=1, description="Records")] = 256
    max_in_flight_bytes: Annotated[int, Field(ge=1)] = 64 * MIB
    transaction_records: Annotated[int, Field(ge=1, description="At most this many uploads a transaction")] = 256
    commit_interval_ms: Annotated[float, Field(ge=0, description="Least time between two commits")] = 10.0
    stop_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    shadow_patience_ms: Annotated[
        float, Field(gt=0, description="A verdict waits at most this long for the opinion of a model on trial")
    ] = 500.0
    breaker: BreakerSettings = BreakerSettings()


class ImageSettings(Group):
    """What may be opened."""

    max_bytes: Annotated[int, Field(ge=1)] = 20 * MIB
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000


class TelemetrySettings(Group):
    """Logs and metrics."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Annotated[Literal["auto", "json", "console"], Field(description="auto: console on a terminal")] = "auto"
    metrics_port: Annotated[int, Field(ge=0, le=65535, description="Prometheus metrics over HTTP; 0: off")] = 0
    metrics_host: str = "127.0.0.1"
