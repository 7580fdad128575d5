import http.client
import json
import logging
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from stream.errors import ConfigurationError, TruncatedImage
from stream.events import ImageFacts, ModelRef, ThresholdIds, Timings, Verdict
from stream.loop import Meter
from stream.settings import TelemetrySettings
from stream.telemetry import Metrics, MetricsServer, configure_logging, serve_metrics

MODEL = ModelRef(name="net", version="1", digest="d" * 64, provider="CPUExecutionProvider", precision="fp32")


@pytest.fixture
def logs(capsys):
    """Lines that were logged so far; puts the process's logging back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    yield lines
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_json_lines_from_both_kinds_of_logger(logs):
    configure_logging(TelemetrySettings(log_format="json"))
    structlog.contextvars.bind_contextvars(worker="w1")
    structlog.get_logger("veristream.worker").info("batch done", images=16)
    logging.getLogger("veristream.kafka").warning("waiting for %s", "the broker")
    first, second = map(json.loads, logs())
    assert (first["event"], first["images"], first["worker"], first["level"]) == ("batch done", 16, "w1", "info")
    assert (second["event"], second["logger"], second["worker"]) == ("waiting for the broker", "veristream.kafka", "w1")
    assert datetime.fromisoformat(first["timestamp"]).tzinfo is not None


def test_console_lines_are_for_people(logs):
    configure_logging(TelemetrySettings(log_format="console"))
    structlog.get_logger("x").warning("careful", images=3)
    (line,) = (re.sub(r"\x1b\[[0-9;]*m", "", text) for text in logs())
    assert "warning" in line
    assert "careful" in line
    assert "images=3" in line


def test_the_level_holds_and_a_second_call_replaces_the_first(logs):
    configure_logging(TelemetrySettings(log_format="json", log_level="error"))
    configure_logging(TelemetrySettings(log_format="auto", log_level="warning"))
    log = structlog.get_logger("x")
    log.info("no")
    log.warning("yes")
    assert [json.loads(line)["event"] for line in logs()] == ["yes"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_are_masked(logs, form):
    configure_logging(TelemetrySettings(log_format=form))
    log = structlog.get_logger("x")
    log.info("start", sasl_password="hunter2", s3_secret_key="hunter2", url="redis://me:hunter2@host/0", port=1)
    try:
        int("redis://:hunter2@host")
    except ValueError:
        logging.getLogger("y").exception("failed at %s", "s3://user:hunter2@host")
    text = "\n".join(logs())
    assert "hunter2" not in text
    assert "***" in text
    assert "ValueError" in text


def verdict(**changes) -> Verdict:
    given = {
        "upload_id": "u1",
        "verdict": "authentic",
        "p_ai": 0.1,
        "thresholds": ThresholdIds(authentic_below="a", ai_above="b"),
        "model": MODEL,
        "image": ImageFacts(sha256="0" * 64, media_type="image/png", width=1, height=1),
        "timings_ms": Timings(queue=1, fetch=2, decode=3, infer=4, total=10),
        "occurred_at": datetime.now(UTC),
        "decided_at": datetime.now(UTC),
    }
    return Verdict(**{**given, **changes})


def samples(metrics: Metrics) -> dict[str, float]:
    with MetricsServer("127.0.0.1", 0, metrics, lambda: True) as server:
        status, body = fetch(server, "/metrics")
    assert status == 200
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def fetch(server: MetricsServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_everything_that_is_told_can_be_scraped():
    metrics = Metrics()
    meter: Meter = metrics
    metrics.consumed("uploads", 3)
    metrics.verdict(verdict())
    metrics.verdict(verdict(verdict="ai_generated", arm="challenger"))
    metrics.dead_letter(TruncatedImage("t"))
    metrics.batch(16)
    metrics.inferred("shadow", 0.25)
    metrics.model_failed("challenger", TruncatedImage("t"))
    metrics.opinions("late", 3)
    meter.flow(records=5, size=1000, lag=7, paused=True)
    meter.committed(records=2, seconds=0.02)
    meter.committed(records=0, seconds=0.0)
    meter.aborted()
    metrics.cache(hits=1, misses=2)
    metrics.cache_failed()
    metrics.ready(True)
    found = samples(metrics)
    digest = "d" * 12
    expected = {
        "veristream_uploads_consumed_total[('topic', 'uploads')]": 3,
        f"veristream_verdicts_total[('arm', 'champion'), ('model', '{digest}'), ('verdict', 'authentic')]": 1,
        f"veristream_verdicts_total[('arm', 'challenger'), ('model', '{digest}'), ('verdict', 'ai_generated')]": 1,
        "veristream_dead_letters_total[('error', 'TruncatedImage')]": 1,
        "veristream_batch_images_sum[]": 16,
        "veristream_infer_seconds_sum[('arm', 'shadow')]": 0.25,
        "veristream_model_failures_total[('arm', 'challenger'), ('error', 'TruncatedImage')]": 1,
        "veristream_shadow_opinions_total[('outcome', 'late')]": 3,
        "veristream_stage_seconds_sum[('stage', 'queue')]": 0.002,
        "veristream_stage_seconds_sum[('stage', 'total')]": 0.02,
        "veristream_stage_seconds_count[('stage', 'commit')]": 1,
        "veristream_in_flight_records[]": 5,
        "veristream_in_flight_bytes[]": 1000,
        "veristream_consumer_lag_records[]": 7,
        "veristream_consumer_paused[]": 1,
        "veristream_transactions_total[('outcome', 'committed')]": 2,
        "veristream_transactions_total[('outcome', 'aborted')]": 1,
        "veristream_cache_lookups_total[('result', 'hit')]": 1,
        "veristream_cache_lookups_total[('result', 'miss')]": 2,
        "veristream_cache_lookups_total[('result', 'error')]": 1,
        "veristream_worker_ready[]": 1,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_only_the_model_in_use_is_shown():
    metrics = Metrics()
    metrics.model("champion", MODEL)
    metrics.model("champion", MODEL.model_copy(update={"version": "2"}))
    metrics.model("shadow", MODEL)
    metrics.model("shadow", None)
    metrics.model("challenger", None)
    shown = [name for name in samples(metrics) if name.startswith("veristream_model_info")]
    assert len(shown) == 1
    assert "('version', '2')" in shown[0]


def test_every_name_is_ours_or_the_processs():
    names = {name.partition("[")[0] for name in samples(Metrics())}
    assert all(name.startswith(("veristream_", "process_")) for name in names)


def test_health_and_readiness():
    ready = [False]
    with MetricsServer("127.0.0.1", 0, Metrics(), lambda: ready[0]) as server:
        assert fetch(server, "/healthz") == (200, "alive\n")
        assert fetch(server, "/readyz") == (503, "not ready\n")
        ready[0] = True
        assert fetch(server, "/readyz?verbose") == (200, "ready\n")
        assert fetch(server, "/favicon.ico")[0] == 404


def test_port_0_is_off_and_a_port_in_use_is_said():
    assert serve_metrics(TelemetrySettings(), Metrics(), lambda: True) is None
    with MetricsServer("127.0.0.1", 0, Metrics(), lambda: True) as server:
        taken = TelemetrySettings(metrics_port=server.port)
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{server.port}.*METRICS_PORT"):
            serve_metrics(taken, Metrics(), lambda: True)
        port = server.port
    again = serve_metrics(TelemetrySettings(metrics_port=port), Metrics(), lambda: True)
    assert again is not None
    again.close()


def test_telemetry_imports_nothing_heavy():
    program = (
        "import sys, stream.telemetry, stream.state; heavy = {'torch', 'pandas', 'boto3', 'onnxruntime', 'scipy'}; "
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
