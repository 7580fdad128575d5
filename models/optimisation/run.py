"""One optimisation, from a bundle and labelled pictures to a new bundle: the order of things, and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from models.bundle import Bundle
from models.evaluation.pictures import Collection
from models.manifest import CALIBRATION, CARD, MANIFEST, MODEL, OPTIMISATION, REFERENCE
from models.optimisation import card, machine, sampling, search
from models.optimisation.measuring import Bench
from models.optimisation.report import Optimisation, Pictures
from models.optimisation.trials import Made, Plan, Progress, Trials
from stream.errors import BundleInvalid, ModelError

__all__ = ["Plan", "optimise"]


def optimise(
    bundle: Bundle,
    collections: Sequence[Collection],
    plan: Plan,
    *,
    report: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, total: lambda step: None,
) -> Bundle:
    """Measures a bundle's precisions, providers, batches and threads, and makes a bundle that runs the best.

    Args:
        bundle: A checked bundle; it does not change.
        collections: Labelled pictures of both classes. A fifth, 128 at most, set the int8 ranges; the rest is measured.
        plan: What to measure.
        report: Is told what is going on.
        progress: Is told the name and length of a long part, and gives what to tell its steps.

    Returns:
        The new bundle, in memory: the picked model, its calibration, the card with what was measured, and
        `optimisation.json`.

    Raises:
        ConfigurationError: The pictures cannot be used.
        BundleInvalid: ONNX Runtime refuses the model.
        InferenceFailed: The bundle's own model fails on the pictures, or a score is not finite.
        ModelError: It is too slow to be measured.
    """
    here, providers = machine.describe(bundle.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        total = sum(len(collection.entries) for collection in collections)
        sample = sampling.draw(
            collections, bundle.manifest.input, folder, seed=plan.seed, advance=progress("crops", total)
        )
        trials = Trials(bundle, Bench(folder, sample.path), sample, plan, report=report, progress=progress)
        variants = list(trials.variants(providers))
        choices = list(trials.choices(variants))
        report(f"speed of {len(choices)} configurations")
        speeds, failed = trials.bench.speeds(
            choices, seconds=plan.seconds, rounds=plan.rounds,
            advance=progress("speed", len(choices) * plan.rounds),
        )  # fmt: skip
    order = search.best(speeds, variants, latency_ms=plan.latency_ms)
    if not order:
        raise ModelError(f"nothing that may be picked could be timed: {'; '.join(failed)}", where=bundle.digest)
    made = trials.made[order[0].precision]
    optimisation = Optimisation(
        source=bundle.digest,
        machine=here,
        pictures=Pictures(
            n=len(sample.labels),
            n_real=int((sample.labels == 0).sum()),
            n_fake=int((sample.labels == 1).sum()),
            sources=len(set(sample.sources)),
            calibration=len(sample.calibration),
            data=tuple(collection.path.name for collection in collections),
            unreadable=sample.unreadable,
            seed=plan.seed,
        ),
        largest_loss=plan.largest_loss,
        latency_objective_ms=plan.latency_ms,
        variants=tuple(variants),
        speeds=tuple(speeds),
        skipped=(*trials.skipped, *failed),
        calibration=made.words,
        order=order,
    )
    return _bundle(bundle, made, optimisation)


def _bundle(bundle: Bundle, made: Made, optimisation: Optimisation) -> Bundle:
    precision = optimisation.pick.precision
    files = {name: data for name, data in bundle.files.items() if name != MANIFEST}
    if precision != bundle.manifest.precision:
        files[MODEL] = made.model
        files[CALIBRATION] = made.calibration.to_json()
        files.pop(REFERENCE, None)  # it is of the other precision's embeddings
    files[OPTIMISATION] = optimisation.to_json()
    try:
        text = files[CARD].decode()
    except UnicodeDecodeError as error:
        raise BundleInvalid(f"{CARD} is not UTF-8", where=bundle.digest) from error
    files[CARD] = card.extended(text, optimisation, was=bundle.manifest.precision).encode()
    manifest = bundle.manifest.model_copy(update={"precision": precision, "created": datetime.now(UTC)})
    return Bundle.build(manifest, files)
