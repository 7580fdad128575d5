"""`veristream drift run`: the drift service, a process of its own in production."""

import json
import logging

import typer

from compose.cli.extras import needing
from compose.cli.signals import until_signalled
from stream.settings import load
from stream.telemetry import configure_logging


def run() -> None:
    """Reads embeddings, verdicts and labels until SIGTERM or Ctrl-C; every evaluation is an event on `drift`.

    Settings are VERISTREAM_DRIFT__ variables. When reading begins, one line of JSON goes to stdout,
    ``{"event": "ready", ...}``. Logs go to stderr.
    """
    service = needing("drift", "Watching for drift", "drift.service")
    settings = load()
    configure_logging(settings.telemetry)
    for chatty in ("faust", "mode", "aiokafka", "drift.transport"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    stop = until_signalled()

    def ready() -> None:
        line = {
            "event": "ready",
            "service": "drift",
            "group": settings.drift.group,
            "window": settings.drift.window,
            "metrics_port": settings.telemetry.metrics_port,
            "port": settings.drift.port,
        }
        typer.echo(json.dumps(line))

    service.Service(settings).run(stop, ready)
