import logging

import pytest

from retrain.jobs.capacity import require
from stream.errors import JobFailed


@pytest.mark.parametrize(
    ("machines", "cpus", "workers"), [([2.0], 2, 1), ([4.0, 1.0], 2, 2), ([2.0, 2.0], 2, 2), ([8.0], 1, 8)]
)
def test_what_fits_is_let_through_in_silence(machines, cpus, workers, caplog):
    require(machines, cpus=cpus, workers=workers, where="ray:6379", grows=False)
    assert not caplog.records


@pytest.mark.parametrize(
    ("machines", "cpus", "workers"),
    # The second has CPUs enough, and no machine that has a worker's share of them.
    [([1.0], 2, 1), ([1.0, 1.0], 2, 1), ([3.0, 1.0], 2, 2), ([], 1, 1), ([0.0, 0.5], 1, 1)],
)
def test_what_never_fits_fails_at_once_and_says_what_is_missing(machines, cpus, workers):
    with pytest.raises(JobFailed) as refused:
        require(machines, cpus=cpus, workers=workers, where="ray:6379", grows=False)
    error = refused.value
    assert not error.retryable
    assert f"{workers} × {cpus} CPUs are asked for" in error.what
    assert "VERISTREAM_RETRAIN__RAY_AUTOSCALES" in error.remedy
    assert error.where == "ray:6379"


def test_a_cluster_that_grows_is_waited_for_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        require([1.0], cpus=2, workers=3, where="ray:6379", grows=True)
    assert "3 × 2 CPUs are asked for" in caplog.text
    assert "have 1 (ray:6379): waiting" in caplog.text
