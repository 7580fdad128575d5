"""Looks for the way to eight bits that moves the scores least, and for the configuration to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.measures import Floats
from models.optimisation.quantisation import Exclusion, Ranged, logits
from models.optimisation.ranges import METHODS, Advance, Method
from models.optimisation.report import Choice, Speed, Variant
from models.ports import Crops
from models.providers import Provider

_TIE = 0.97
_LADDER: tuple[tuple[Exclusion, ...], ...] = (("first",), ("first", "depthwise"), ("early",), ("early", "depthwise"))
_WORDS: dict[Exclusion, str] = {
    "first": "the first layer",
    "depthwise": "grouped convolutions",
    "early": "the first third of the layers",
}


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """A model in eight bits, how it came about, and the root mean square change of a crop's logit."""

    model: bytes
    method: Method
    exclude: tuple[Exclusion, ...]
    error: float

    @property
    def how(self) -> str:
        """In words."""
        return f"static QDQ per channel, {_words(self.method, self.exclude)}, logit error {self.error:.3f}"


def ways(
    model: bytes,
    crops: Crops,
    *,
    threads: int = 1,
    advance: Advance = lambda step: None,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[Quantised]:
    """Ways to eight bits, the one with fewest layers in float first; each is made when it is asked for.

    The rule for ranges is picked by the error on crops that set no range; then layers are left in float step by step,
    where a step leaves out others than those before. The model runs over the crops once for all of them.

    Args:
        model: The float model.
        crops: Real ones ``[n, S, S, 3]``; every fourth only tells the error.
        threads: Of a run.
        advance: Is told how many crops have set the ranges; `setting` says how many do.
        report: Is told of every way before it is made: of a large model, one takes a minute.

    Raises:
        BundleInvalid: The model cannot be quantised.
        InferenceFailed: A logit is not finite.
    """
    apart = _apart(len(crops))
    ranged = Ranged.of(model, [crops[~apart]], advance=advance)
    telling = crops[apart] if apart.any() else crops
    wanted = logits(model, [telling], threads=threads)

    def tried(method: Method, exclude: tuple[Exclusion, ...]) -> Quantised:
        report(f"int8: {_words(method, exclude)}")
        made = ranged.quantised(method, exclude)
        return Quantised(made, method, exclude, _error(logits(made, [telling], threads=threads), wanted))

    first = min((tried(method, _LADDER[0]) for method in METHODS), key=lambda way: way.error)
    yield first
    method, seen = first.method, {ranged.left_out(_LADDER[0])}
    del first  # a model may be large
    for exclude in _LADDER[1:]:
        if ranged.left_out(exclude) not in seen:
            seen.add(ranged.left_out(exclude))
            yield tried(method, exclude)


def setting(count: int) -> int:
    """How many of so many crops set the ranges in `ways`."""
    return int((~_apart(count)).sum())


def best(speeds: Sequence[Speed], variants: Sequence[Variant], *, latency_ms: float) -> tuple[Choice, ...]:
    """The quickest configurations that lose no more than they may.

    Quickest is the largest capacity; within three percent of it smaller batches and fewer threads are better. Where a
    batch's 99th percentile is over the latency objective everywhere, the objective is let go.

    Args:
        speeds: What was measured.
        variants: What each precision does on each provider.
        latency_ms: What a batch may take.

    Returns:
        The pick, then the best on each other provider with the same model, in order.
    """
    allowed = {(variant.precision, variant.provider) for variant in variants if variant.allowed}
    open_to = [speed for speed in speeds if (speed.precision, speed.provider) in allowed]
    within = [speed for speed in open_to if speed.p99_ms <= latency_ms] or open_to
    picks: dict[tuple[str, Provider], Speed] = {}
    for speed in within:
        group = [s for s in within if (s.precision, s.provider) == (speed.precision, speed.provider)]
        picks[speed.precision, speed.provider] = _smallest(group)
    ordered = sorted(picks.values(), key=lambda speed: -speed.capacity)
    return tuple(
        Choice(precision=s.precision, provider=s.provider, threads=s.threads, batch=s.batch)
        for s in ordered
        if s.precision == ordered[0].precision
    )


def _smallest(group: Sequence[Speed]) -> Speed:
    """The smallest batch on the fewest threads of those that are as quick as the quickest, nearly."""
    bound = _TIE * max(speed.capacity for speed in group)
    return min((s for s in group if s.capacity >= bound), key=lambda s: (s.threads, s.batch))


def _words(method: Method, exclude: Sequence[Exclusion]) -> str:
    kept = " and ".join(_WORDS[name] for name in exclude) or "nothing"
    return f"ranges by {method}, {kept} in float"


def _error(found: Floats, wanted: Floats) -> float:
    return float(np.sqrt(np.mean((found - wanted) ** 2)))


def _apart(count: int) -> npt.NDArray[np.bool_]:
    return np.asarray(np.arange(count) % 4 == 3)  # noqa: PLR2004 - every fourth
