"""`optimisation.json`: everything that was measured of a bundle, where, and what the worker shall do about it.

Only what a worker needs to read it is imported here; measuring lives beside it.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, ValidationError

from models.manifest import OPTIMISATION, Section, faults
from models.providers import Provider
from stream.errors import BundleInvalid

Precision = Literal["fp32", "fp16", "int8"]
Count = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[FiniteFloat, Field(ge=0)]


class Machine(Section):
    """Where it was measured."""

    system: str
    processor: str
    cores: Count
    flags: Annotated[tuple[str, ...], Field(description="Instruction sets that matter for inference")]
    python: str
    onnxruntime: str
    providers: Annotated[Mapping[str, str], Field(description="`works`, or why not")]


class Pictures(Section):
    """What it was measured on."""

    n: int
    n_real: int
    n_fake: int
    sources: int
    calibration: Annotated[int, Field(description="Further pictures, on which the int8 ranges were set")]
    data: tuple[str, ...]
    unreadable: int = 0
    seed: int


class Variant(Section):
    """One precision on one provider: what it says of the pictures."""

    precision: Precision
    provider: Provider
    how: Annotated[str, Field(description="How it was made from the bundle's model, in words")]
    size_bytes: Count
    auc: Annotated[FiniteFloat, Field(description="Source-balanced")]
    auc_difference: Annotated[FiniteFloat, Field(description="To the bundle's own model on the CPU")]
    auc_difference_ci95: Annotated[tuple[FiniteFloat, FiniteFloat] | None, Field(description="Paired bootstrap")]
    largest_change: Annotated[FiniteFloat, Field(description="Of any picture's probability")]
    mean_change: Annotated[FiniteFloat, Field(description="Of a picture's probability, without its sign")]
    batch_change: Annotated[FiniteFloat, Field(description="Largest, of a probability, from batch 1 to the largest")]
    verdicts_changed: FiniteFloat
    fpr: FiniteFloat | None
    fnr: FiniteFloat | None
    abstained: FiniteFloat | None
    ece: FiniteFloat | None
    allowed: Annotated[bool, Field(description="Whether it loses no more than the bound")]


class Choice(Section):
    """A way to run the model: what the worker takes where it is told nothing else."""

    precision: Precision
    provider: Provider
    threads: Count
    batch: Count

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.precision} on {self.provider}, {threads}, batches of up to {self.batch}"


class Speed(Choice):
    """One configuration in processes of its own.

    On a processor, cores are shared with decoding and other workers; what counts there is the processor time that a
    picture takes, on an accelerator the time that passes.
    """

    p50_ms: Annotated[Milliseconds, Field(description="Of a whole batch")]
    p99_ms: Milliseconds
    cpu_ms: Annotated[Milliseconds, Field(description="Processor time of one picture, all threads together")]
    images_per_second: Annotated[FiniteFloat, Field(gt=0, description="Of one session, at the median")]
    capacity: Annotated[
        FiniteFloat, Field(gt=0, description="Images per second of the whole machine: cores / processor time on a CPU")
    ]
    memory_mib: Annotated[FiniteFloat, Field(ge=0, description="Peak resident memory of a process that only does this")]


class Optimisation(Section):
    """The whole report; ``order`` holds the best way on each provider with the model that ships, best first."""

    format: Literal[1] = 1
    source: Annotated[str, Field(description="Digest of the bundle it was made from")]
    machine: Machine
    pictures: Pictures
    largest_loss: Annotated[FiniteFloat, Field(description="Points of AUC (0 to 1) that may be lost")]
    latency_objective_ms: Milliseconds
    variants: tuple[Variant, ...]
    speeds: tuple[Speed, ...]
    skipped: Annotated[tuple[str, ...], Field(description="What was not measured, and why")] = ()
    calibration: Annotated[str, Field(description="What became of the calibration, in words")]
    order: Annotated[tuple[Choice, ...], Field(min_length=1)]

    @property
    def pick(self) -> Choice:
        """The way to run it on a machine like the one it was measured on."""
        return self.order[0]

    def on(self, provider: Provider) -> Choice | None:
        """The best way on one provider, where that was measured."""
        return next((choice for choice in self.order if choice.provider == provider), None)

    def to_json(self) -> bytes:
        """The file's bytes."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, *, where: str = OPTIMISATION) -> Self:
        """Reads a report.

        Raises:
            BundleInvalid: Not JSON, or not such a report; the message names the fields.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise BundleInvalid(f"{OPTIMISATION} cannot be read: {faults(error)}", where=where) from error
