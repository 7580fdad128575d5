"""Which reference a model's embeddings are compared with, and when that changes: on promotion, never otherwise.

In this order: the one that lies beside the bundle in the registry, else the bundle's own, else one that is made of the
first embeddings the model gives. When a model is promoted after a trial, a reference is made of what it saw on trial
and put beside its bundle: the world as it is now is the new normal. That may have happened while nobody watched; what
it saw comes afterwards then. A model that is promoted again, such as after a roll-back, keeps the reference it has.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from drift.baselines import Baselines
from drift.evaluator import Evaluator
from drift.metrics import DriftMetrics
from drift.reference import Reference
from stream.errors import BlobNotFound, ReferenceInvalid, VeristreamError
from stream.settings import DriftSettings

_log = logging.getLogger("veristream.drift")

_MEDIA_TYPE = "application/x-npz"
_SEED = 0
_ENOUGH_WINDOWS = 3


class Shelf(Protocol):
    """Where things lie beside a bundle; `models.registry.Registry`."""

    def read(self, name: str) -> bytes:
        """Returns what lies under a name."""
        ...

    def write(self, name: str, data: bytes, media_type: str) -> str:
        """Stores something and returns its URI."""
        ...


class InForce(NamedTuple):
    """A reference that counts, with what is asked of it at every evaluation.

    Attributes:
        reference: The reference.
        digest: Its own digest.
        columns: float32 ``[n, C]``, its own columns.
    """

    reference: Reference
    digest: str
    columns: npt.NDArray[np.float32]


class Keeper:
    """The references in force. For one thread.

    Args:
        shelf: The registry; None where there is no blob store, and references last as long as this process.
        bundled: The bytes of the reference in a model's bundle; None where it has none.
        evaluator: Who builds references.
        baselines: What they are built of.
        settings: How large windows and references are.
        metrics: Who counts.
        told: Given each reference that comes into force.
    """

    def __init__(
        self,
        shelf: Shelf | None,
        bundled: Callable[[str], bytes | None],
        evaluator: Evaluator,
        baselines: Baselines,
        *,
        settings: DriftSettings,
        metrics: DriftMetrics,
        told: Callable[[Reference], None],
    ) -> None:
        self._shelf = shelf
        self._bundled = bundled
        self._evaluator = evaluator
        self._baselines = baselines
        self._settings = settings
        self._metrics = metrics
        self._told = told
        self._found: dict[str, InForce] = {}
        self._without: set[str] = set()
        self._promoted: dict[str, datetime] = {}
        self._freezing: dict[str, datetime] = {}
        self._refusals: dict[str, str] = {}

    def reference(self, model_digest: str) -> InForce | None:
        """The reference in force; None while there is none, see `state`."""
        self._freeze(model_digest)
        if model_digest not in self._found and model_digest not in self._without:
            self._look_up(model_digest)
        if model_digest not in self._found:
            self._make(model_digest)
        return self._found.get(model_digest)

    def state(self, model_digest: str) -> str:
        """Why there is no reference, in words."""
        count = self._collected(model_digest)
        words = f"{count} of {self._wanted(model_digest)} embeddings are collected for a reference of this model"
        refusal = self._refusals.get(model_digest)
        return f"{refusal}; {words}" if refusal else words

    def refused(self, model_digest: str) -> bool:
        """Whether there would be a reference if it could be read."""
        return model_digest in self._refusals

    def stands(self, model_digest: str) -> bool:
        """Whether a model has a reference that nothing is being collected to replace."""
        collected = model_digest in self._freezing or model_digest in self._promoted
        return model_digest in self._found and not collected

    def promoted(self, model_digest: str, at: datetime) -> None:
        """A model on trial became the champion: what it saw becomes its reference, unless that was done before.

        Args:
            model_digest: The model.
            at: When; if nothing that it saw before is there or comes first, it keeps the reference it has.
        """
        self._promoted[model_digest] = at
        self._freeze(model_digest)

    def _freeze(self, model_digest: str) -> None:
        """Begins to freeze a promoted model's reference, once the first of what it saw is there."""
        at = self._promoted.get(model_digest)
        begun = self._baselines.begun(model_digest) if at is not None else None
        if at is None or begun is None:
            return
        try:
            stays = begun > at or self._frozen(model_digest) is not None
        except VeristreamError as error:
            self._metrics.failed(error)
            _log.warning("whether promoted model %s has a reference of its own is unknown: %s", model_digest, error)
            return
        del self._promoted[model_digest]
        if stays:
            return
        _log.info("model %s was promoted: its reference is to be what it saw on trial", model_digest)
        self._found.pop(model_digest, None)
        self._without.add(model_digest)
        self._freezing[model_digest] = at
        self._make(model_digest)

    def _look_up(self, model_digest: str) -> None:
        self._refusals.pop(model_digest, None)
        try:
            found = self._frozen(model_digest) or self._bundles_own(model_digest)
        except VeristreamError as error:
            self._metrics.failed(error)
            _log.warning("the reference of model %s cannot be looked up: %s", model_digest, error)
            self._refusals[model_digest] = f"no reference could be read, because {error.what}"
            if error.retryable:
                return
            found = None
        if found is None:
            self._without.add(model_digest)
        else:
            self._enforce(found)

    def _frozen(self, model_digest: str) -> Reference | None:
        name = _name(model_digest)
        try:
            data = self._shelf.read(name) if self._shelf is not None else None
        except BlobNotFound:
            data = None
        return self._read(data, name, model_digest)

    def _bundles_own(self, model_digest: str) -> Reference | None:
        return self._read(self._bundled(model_digest), f"bundle {model_digest}", model_digest)

    def _read(self, data: bytes | None, where: str, model_digest: str) -> Reference | None:
        """A reference that is refused is told and counted, and does not count as one."""
        if data is None:
            return None
        try:
            return Reference.read(data, where=where, model_digest=model_digest)
        except ReferenceInvalid as error:
            self._metrics.failed(error)
            _log.error("a reference is refused: %s", error)
            self._refusals[model_digest] = f"a reference was refused, because {error.what}"
            return None

    def _wanted(self, model_digest: str) -> int:
        least = _ENOUGH_WINDOWS * self._settings.window
        return least if model_digest in self._freezing else wanted(self._settings)

    def _collected(self, model_digest: str) -> int:
        """How many count as collected: of a promoted model those of its trial, or of its reign if those are more.

        Never both together: partitions are not read in step, so what is missing of the trial may still come.
        """
        count, at = self._baselines.count(model_digest), self._freezing.get(model_digest)
        on_trial = count if at is None else self._baselines.count(model_digest, until=at)
        return max(on_trial, count - on_trial)

    def _make(self, model_digest: str) -> None:
        """Builds a reference once enough was collected, and stores it before it is used."""
        count = self._collected(model_digest)
        self._metrics.collected(model_digest, count)
        if model_digest not in self._without or count < self._wanted(model_digest):
            return
        vectors, scores = self._baselines.arrays(
            model_digest, until=self._freezing.get(model_digest), least=self._wanted(model_digest)
        )
        try:
            made = self._evaluator.build(
                vectors,
                scores,
                model_digest=model_digest,
                window=self._settings.window,
                seed=_SEED,
                size=self._settings.reference,
            )
            if self._shelf is not None:
                self._shelf.write(_name(model_digest), made.to_bytes(), _MEDIA_TYPE)
        except VeristreamError as error:
            self._metrics.failed(error)
            _log.error(
                "no reference could be made of model %s, tried again with its next window: %s", model_digest, error
            )
            return
        _log.info("model %s has a reference of %d embeddings: %s", model_digest, len(scores), made.digest)
        self._freezing.pop(model_digest, None)
        self._baselines.settle(model_digest)
        self._enforce(made)

    def _enforce(self, reference: Reference) -> None:
        self._refusals.pop(reference.model_digest, None)
        self._without.discard(reference.model_digest)
        self._found[reference.model_digest] = InForce(reference, reference.digest, reference.own_columns())
        self._told(reference)


def wanted(settings: DriftSettings) -> int:
    """Embeddings of a model that are collected for a reference, and kept at most."""
    return max(_ENOUGH_WINDOWS * settings.window, settings.baseline)


def _name(model_digest: str) -> str:
    return f"bundles/{model_digest}/reference.npz"
