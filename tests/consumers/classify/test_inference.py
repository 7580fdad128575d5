from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.classify import inference
from consumers.classify.inference import Casualty
from stream.errors import InferenceFailed, ProcessingFailed


class Device:
    """Doubles numbers; fails on batches that hold a bad one, and on the first ``flaky`` calls."""

    def __init__(self, bad: Sequence[int] = (), flaky: int = 0, error: type[Exception] = InferenceFailed) -> None:
        self.bad, self.flaky, self.error = frozenset(bad), flaky, error
        self.calls = 0

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.calls += 1
        if self.calls <= self.flaky or self.bad & set(batch):
            raise self.error("no")
        return [2 * number for number in batch]


@given(st.integers(1, 70).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_only_the_bad_are_lost_and_nobody_changes_places(case):
    size, bad = case
    outcomes = list(inference.run(Device(bad), range(size), where="model"))
    assert len(outcomes) == size
    for number, outcome in enumerate(outcomes):
        if number in bad:
            assert isinstance(outcome, Casualty)
            assert outcome.item == number
            assert outcome.attempts >= 2
        else:
            assert outcome == 2 * number


def test_a_device_with_a_bad_moment_costs_one_more_run():
    device = Device(flaky=1)
    assert list(inference.run(device, [1, 2, 3], where="model")) == [2, 4, 6]
    assert device.calls == 2


def test_one_bad_picture_costs_a_logarithm_of_runs():
    device = Device(bad=[13])
    list(inference.run(device, range(64), where="model"))
    assert device.calls == 2 + 2 * 6


def test_a_bug_in_the_model_is_named_and_not_swallowed():
    [lost] = inference.run(Device(bad=[1], error=ZeroDivisionError), [1], where="digest")
    assert isinstance(lost, Casualty)
    assert isinstance(lost.error, ProcessingFailed)
    assert "ZeroDivisionError" in lost.error.what
    assert isinstance(lost.error.__cause__, ZeroDivisionError)


def test_the_end_of_the_process_is_no_casualty():
    def predict(_: Sequence[int]) -> list[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(inference.run(predict, [1], where="model"))
