"""Logs: one line an event on stderr, as JSON for machines or coloured for people, with secrets masked.

Both structlog's and the standard library's loggers end up here, so that what librdkafka or boto3 say looks the same.
Fields bound with ``structlog.contextvars.bind_contextvars`` appear on every line of their thread or task.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from stream.settings import TelemetrySettings

_MASK = "***"
_SECRET_NAME = re.compile(r"(?i)password|passwd|secret|token|credential|authorization|(access|api|private)_?key")
_USER_INFO = re.compile(r"(?<=://)[^/\s@]*:[^/\s@]*@")


def configure_logging(settings: TelemetrySettings) -> None:
    """Sends every log line of this process to stderr; call once, early. A second call replaces the first."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    # Tracebacks become text before the mask, so that a URL in one is masked as well.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _mask,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # These tell of every request at "info"; what matters comes back to us as an error.
    for chatty in ("boto3", "botocore", "urllib3", "s3transfer"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _mask(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hides values whose name says that they are secret, and user and password in URLs."""
    for name, value in event.items():
        if _SECRET_NAME.search(name):
            event[name] = _MASK
        elif isinstance(value, str):
            event[name] = _USER_INFO.sub(f"{_MASK}@", value)
    return event
