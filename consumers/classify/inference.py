"""Running a batch so that one bad picture costs one dead letter and none of its neighbours.

A batch that fails is run once more as it is, because a device has bad moments. If it fails again it is halved, and the
halves likewise, until the pictures that fail stand alone: one bad picture in n costs about 2·log2(n) further runs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from consumers.classify.attempts import foreseen
from stream.errors import VeristreamError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Casualty(Generic[T]):
    """A picture that the model fails on even alone, and how often it was tried."""

    item: T
    error: VeristreamError
    attempts: int


def run(predict: Callable[[Sequence[T]], Sequence[R]], batch: Sequence[T], *, where: str) -> Iterator[R | Casualty[T]]:
    """Runs a batch; yields a result or a casualty for every picture, in order.

    Args:
        predict: One result for each picture, in order, or an exception for all.
        batch: At least one picture.
        where: What to name in an error that was not foreseen.
    """
    return _run(predict, batch, where, earlier=0, retry=True)


def _run(
    predict: Callable[[Sequence[T]], Sequence[R]], batch: Sequence[T], where: str, *, earlier: int, retry: bool
) -> Iterator[R | Casualty[T]]:
    attempts = earlier + 1
    try:
        with foreseen("inference", where):
            results = predict(batch)
    except VeristreamError as error:
        if retry:
            yield from _run(predict, batch, where, earlier=attempts, retry=False)
        elif len(batch) == 1:
            yield Casualty(batch[0], error, attempts)
        else:
            half = len(batch) // 2
            for part in (batch[:half], batch[half:]):
                yield from _run(predict, part, where, earlier=attempts, retry=False)
    else:
        yield from results
