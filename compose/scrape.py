"""Reads the worker's own Prometheus metrics over HTTP, as Prometheus would."""

import http.client
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 0.5
_BATCH = "veristream_batch_images"
_LAG = "veristream_consumer_lag_records"


class WorkerMetrics(NamedTuple):
    """What the dashboard wants of them.

    Attributes:
        batches: Batches by size: (largest size of the bucket, batches in it), smallest first, the last infinite.
        pictures: Pictures in all batches.
        lag: Uploads that wait in the worker's partitions.
    """

    batches: tuple[tuple[float, int], ...]
    pictures: int
    lag: int

    @property
    def batch_mean(self) -> float | None:
        """Pictures per batch; None before the first."""
        count = sum(count for _, count in self.batches)
        return self.pictures / count if count else None


def scrape(port: int) -> WorkerMetrics | None:
    """Asks the worker that serves its metrics on this port of this machine; None while it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return parse(connection.getresponse().read().decode())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def parse(text: str) -> WorkerMetrics:
    """Reads the exposition format; a metric that is missing counts as zero."""
    upto: list[tuple[float, int]] = []
    pictures = lag = 0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{_BATCH}_bucket":
                upto.append((float(sample.labels["le"]), int(sample.value)))
            elif sample.name == f"{_BATCH}_sum":
                pictures = int(sample.value)
            elif sample.name == _LAG:
                lag = int(sample.value)
    upto.sort()
    # Prometheus buckets hold everything up to their limit; the differences are what is wanted.
    before = [0, *(count for _, count in upto)]
    return WorkerMetrics(tuple((limit, count - before[n]) for n, (limit, count) in enumerate(upto)), pictures, lag)
