"""What is tried on a bundle: its precisions on every provider, what each does to the scores, and ways to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.bundle import Bundle
from models.calibration import Calibration
from models.evaluation.measures import Floats, Scored
from models.optimisation import machine, search
from models.optimisation.comparison import Reference, follow, probabilities
from models.optimisation.halving import halve
from models.optimisation.measuring import Bench
from models.optimisation.quantisation import logits
from models.optimisation.ranges import Advance
from models.optimisation.report import Choice, Precision, Variant
from models.optimisation.sampling import Sample
from models.providers import Provider
from stream.errors import ModelError

_ON_CORES = ("cpu", "openvino")

Progress = Callable[[str, int], Advance]
"""Takes the name and length of a long part, and gives what to tell its steps."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and what decides.

    Attributes:
        batches: Pictures in a run.
        threads: Threads of a run on the CPU.
        seconds: How long each configuration runs in a round.
        rounds: How often each is measured.
        largest_loss: Points of AUC (0 to 1) that a quicker way may lose.
        latency_ms: The 99th percentile that a batch must stay under, where any does.
        seed: Of the draw and the bootstrap.
    """

    batches: tuple[int, ...] = (1, 4, 16)
    threads: tuple[int, ...] = field(default_factory=lambda: _powers(machine.cores()))
    seconds: float = 0.5
    rounds: int = 3
    largest_loss: float = 0.005
    latency_ms: float = 250.0
    seed: int = 0


@dataclass(slots=True)
class Made:
    """A precision: its model, how it was made, its calibration and what became of that."""

    model: bytes
    how: str
    calibration: Calibration
    words: str


class Trials:
    """One bundle's precisions, and what is known of them.

    Args:
        bundle: A checked bundle.
        bench: Where they are measured.
        sample: The pictures.
        plan: What to measure.
        report: Is told what is going on.
        progress: Is told of long parts.

    Attributes:
        bench: As given; it has every precision's model.
        made: The precisions that could be made.
        skipped: What could not be made or measured, and why.
    """

    def __init__(
        self,
        bundle: Bundle,
        bench: Bench,
        sample: Sample,
        plan: Plan,
        *,
        report: Callable[[str], None],
        progress: Progress,
    ) -> None:
        self.bench = bench
        self.made: dict[Precision, Made] = {}
        self.skipped: list[str] = []
        self._bundle = bundle
        self._sample = sample
        self._plan = plan
        self._report = report
        self._progress = progress
        self._own = bundle.manifest.precision
        self.made[self._own] = Made(bundle.model, "the bundle's own", bundle.calibration, "kept: the model is the same")
        bench.put(self._own, bundle.model)
        report(f"scores of {len(sample.labels)} pictures, {self._own} on cpu")
        self._batch, self._threads = max(plan.batches), max(plan.threads)
        found, self._alone = self._scores(self._own, "cpu")
        self._found = found
        p = probabilities(bundle.calibration, found)
        self._reference = Reference(Scored(p, sample.labels, sample.sources), bundle.calibration, plan.seed)
        self._before = self._apart(self._own, bundle.model)

    def variants(self, providers: Sequence[Provider]) -> Iterator[Variant]:
        """Every precision on every provider, the bundle's own on the CPU first."""
        yield self._variant(self._own, "cpu", self._found, self._alone)
        for provider in reversed(providers):
            if provider != "cpu":
                yield from self._measured(self._own, provider)
        if self._own != "fp32":
            self.skipped.append(f"other precisions: the bundle is {self._own}, and the float model is not in it")
            return
        if any(provider in _ON_CORES for provider in providers):
            yield from self._eight_bits([provider for provider in reversed(providers) if provider in _ON_CORES])
        others = [provider for provider in reversed(providers) if provider not in _ON_CORES]
        if others and self._add("fp16", lambda: halve(self._bundle.model), "the trunk in float16"):
            for provider in others:
                yield from self._measured("fp16", provider)
        if not others:
            self.skipped.append("fp16: no accelerator works here, and a processor computes it slower than fp32")

    def choices(self, variants: Sequence[Variant]) -> Iterator[Choice]:
        """All configurations of what could be scored."""
        for variant in variants:
            for threads in self._plan.threads if variant.provider in _ON_CORES else (1,):
                for batch in self._plan.batches:
                    yield Choice(precision=variant.precision, provider=variant.provider, threads=threads, batch=batch)

    def _eight_bits(self, providers: Sequence[Provider]) -> Iterator[Variant]:
        """The first way to eight bits that loses no more than it may on the CPU; else the one that loses least."""
        best: tuple[Made, Variant] | None = None
        crops = self._sample.calibration_crops()
        count = search.setting(len(crops))
        self._report(f"int8: ranges on {count} crops")
        try:
            advance = self._progress("int8 ranges", count)
            for way in search.ways(
                self._bundle.model, crops, threads=self._threads, advance=advance, report=self._report
            ):
                if not self._add("int8", lambda way=way: way.model, way.how):  # type: ignore[misc]
                    continue
                variant = next(self._measured("int8", "cpu"), None)
                if variant and (best is None or variant.auc_difference > best[1].auc_difference):
                    best = self.made["int8"], variant
                if variant and variant.allowed:
                    break
        except ModelError as error:
            self.skipped.append(f"int8: {error.what}")
        if best is None:
            return
        self.made["int8"], variant = best
        self.bench.put("int8", self.made["int8"].model)
        yield variant
        for provider in providers:
            if provider != "cpu":
                yield from self._measured("int8", provider)

    def _add(self, precision: Precision, make: Callable[[], bytes], how: str) -> bool:
        try:
            model = make()
            after = self._apart(precision, model)
        except ModelError as error:
            self.skipped.append(f"{precision}: {error.what}")
            return False
        calibration, words = follow(self._bundle.calibration, self._before, after)
        self.made[precision] = Made(model, how, calibration, words)
        self.bench.put(precision, model)
        return True

    def _measured(self, precision: Precision, provider: Provider) -> Iterator[Variant]:
        self._report(f"scores, {precision} on {provider}: {self.made[precision].how}")
        try:
            found, alone = self._scores(precision, provider)
        except ModelError as error:
            self.skipped.append(f"{precision} on {provider}: {error.what}")
            return
        yield self._variant(precision, provider, found, alone)

    def _scores(self, precision: Precision, provider: Provider) -> tuple[Floats, Floats]:
        advance = self._progress(f"scores, {precision} on {provider}", len(self._sample.labels))
        return self.bench.scores(precision, provider, threads=self._threads, batch=self._batch, advance=advance)

    def _variant(self, precision: Precision, provider: Provider, found: Floats, alone: Floats) -> Variant:
        made = self.made[precision]
        figures = self._reference.compare(found, alone, made.calibration, largest_loss=self._plan.largest_loss)
        return Variant(precision=precision, provider=provider, how=made.how, size_bytes=len(made.model), **figures)

    def _apart(self, precision: Precision, model: bytes) -> Floats:
        """Logits of the pictures kept apart, the mean over their crops."""
        sample, crops = self._sample.calibration, self._sample.calibration_crops()
        advance = self._progress(f"calibration, {precision}", len(crops))
        found = logits(model, [crops], threads=self._threads, advance=advance)
        return np.asarray(found.reshape(sample.shape[:2]).mean(1))


def _powers(most: int) -> tuple[int, ...]:
    """1, 2, 4, … and the number of cores itself."""
    return tuple(sorted({1 << power for power in range(most.bit_length())} | {most}))
