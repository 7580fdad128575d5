"""``/metrics`` for Prometheus, ``/healthz`` and ``/readyz`` for whoever restarts processes and sends them traffic."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Protocol, Self

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from stream.errors import ConfigurationError
from stream.settings import TelemetrySettings

log = logging.getLogger("veristream.telemetry")

_TEXT = "text/plain; charset=utf-8"


class Registered(Protocol):
    """Whatever counts something: `stream.telemetry.Metrics`, or another floor's own."""

    @property
    def registry(self) -> CollectorRegistry:
        """What ``/metrics`` shows."""
        ...


class MetricsServer:
    """A small HTTP server in threads of its own; for trusted networks, since it asks nobody who they are.

    Args:
        host: Address to listen on.
        port: Port; 0 takes a free one.
        metrics: What ``/metrics`` shows.
        ready: What ``/readyz`` asks.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """

    def __init__(self, host: str, port: int, metrics: Registered, ready: Callable[[], bool]) -> None:
        handler = type("Handler", (_Handler,), {"metrics": metrics, "ready": staticmethod(ready)})
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            what = f"metrics cannot be served: {error.strerror}"
            remedy = "Set VERISTREAM_TELEMETRY__METRICS_PORT to a free port, or to 0 for no metrics"
            raise ConfigurationError(what, where=f"{host}:{port}", remedy=remedy) from error
        self.host, self.port = host, self._server.server_port
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="metrics", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve_metrics(settings: TelemetrySettings, metrics: Registered, ready: Callable[[], bool]) -> MetricsServer | None:
    """Serves metrics where the settings say; None when they say port 0.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    if settings.metrics_port == 0:
        return None
    return MetricsServer(settings.metrics_host, settings.metrics_port, metrics, ready)


class _Handler(BaseHTTPRequestHandler):
    metrics: Registered
    ready: Callable[[], bool]

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(self.metrics.registry))
            case "/healthz":
                self._answer(HTTPStatus.OK, _TEXT, b"alive\n")
            case "/readyz" if self.ready():
                self._answer(HTTPStatus.OK, _TEXT, b"ready\n")
            case "/readyz":
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"not ready\n")
            case _:
                self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"try /metrics, /healthz or /readyz\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        log.debug(format, *args)

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
