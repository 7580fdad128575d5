"""What can be seen from outside: logs on stderr, Prometheus metrics, and whether the process is alive and ready."""

from stream.telemetry.exporter import MetricsServer, serve_metrics
from stream.telemetry.logs import configure_logging
from stream.telemetry.metrics import Metrics

__all__ = ["Metrics", "MetricsServer", "configure_logging", "serve_metrics"]
