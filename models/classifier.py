"""The ONNX classifier: a bundle, loaded and warmed up, that scores batches of prepared pictures."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.bundle import Bundle
from models.crops import Box, crops, positions
from models.decode import Picture
from models.optimisation.serving import opened
from models.ports import Crops, Score
from models.providers import RUNTIME_ERRORS, Wish
from stream.errors import BundleInvalid, InferenceFailed
from stream.events import ThresholdIds

INPUT, LOGIT, EMBEDDING, PATCHES = "crops", "logit", "embedding", "patches"

_Floats = npt.NDArray[np.float32]


class Classifier:
    """Scores pictures with one bundle on one execution provider. Make it with `load`; thread-safe."""

    def __init__(self, bundle: Bundle, session: onnxruntime.InferenceSession, *, max_batch: int | None = None) -> None:
        self.max_batch = max_batch
        # Not the bundle: files that serving has no use for, a large network's weights among them, would stay in memory.
        self._manifest, self._digest = bundle.manifest, bundle.digest
        self._session = session
        self._calibration = bundle.calibration
        self._input = bundle.manifest.input
        returned = {output.name for output in session.get_outputs()}
        self._outputs = [name for name in (LOGIT, EMBEDDING, PATCHES) if name in returned]

    @classmethod
    def load(cls, bundle: Bundle, *, provider: Wish = "auto", threads: int | None = None) -> Self:
        """Opens the model and runs it once, so that the first picture does not pay for the start.

        Args:
            bundle: A checked bundle.
            provider: The execution provider wished for; ``auto`` is what the bundle was measured to be quickest on.
            threads: Threads one run may use on the CPU; None is what the bundle was measured to be quickest with.

        Raises:
            ProviderUnavailable: The provider is not to be had here.
            BundleInvalid: The model cannot be opened, or does not take and return what a bundle's model must.
        """
        session, choice = opened(bundle, wish=provider, threads=threads)
        classifier = cls(bundle, session, max_batch=choice.batch if choice else None)
        inputs = [(given.name, given.type) for given in session.get_inputs()]
        if inputs != [(INPUT, "tensor(uint8)")] or not {LOGIT, EMBEDDING} <= set(classifier._outputs):
            what = f"the model takes {inputs} and returns {[output.name for output in session.get_outputs()]}"
            remedy = f"It must take uint8 {INPUT!r} and return {LOGIT!r} and {EMBEDDING!r}"
            raise BundleInvalid(what, where=bundle.digest, remedy=remedy)
        side = classifier._input.size
        blank = np.zeros((classifier._input.crops, side, side, 3), dtype=np.uint8)
        try:
            classifier.predict([blank, blank])
        except InferenceFailed as error:
            raise BundleInvalid(f"the model fails on a blank picture: {error.what}", where=bundle.digest) from error
        return classifier

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._manifest.name

    @property
    def version(self) -> str:
        """Version of the model."""
        return self._manifest.version

    @property
    def digest(self) -> str:
        """Digest of the bundle."""
        return self._digest

    @property
    def provider(self) -> str:
        """Execution provider that the session really got; it may hand single nodes to the CPU."""
        return str(self._session.get_providers()[0])

    @property
    def precision(self) -> str:
        """Numeric precision of the graph."""
        return self._manifest.precision

    @property
    def thresholds(self) -> ThresholdIds:
        """Names of the thresholds that verdicts are taken at."""
        return self._calibration.threshold_ids

    def prepare(self, picture: Picture) -> Crops:
        """Cuts the bundle's crops out of a picture: uint8 ``[k, S, S, 3]``."""
        return crops(picture.pixels, self._input.size, self._input.crops)

    def boxes(self, width: int, height: int) -> tuple[Box, ...]:
        """Where `prepare` cuts a picture of this size."""
        return positions(width, height, self._input.size, self._input.crops)

    def predict(self, batch: Sequence[Crops]) -> list[Score]:
        """Scores prepared pictures in one run, in order.

        Args:
            batch: For each picture, uint8 ``[k, S, S, 3]`` as `prepare` makes it.

        Raises:
            InferenceFailed: ONNX Runtime failed, or an output has another shape than agreed or is not finite. No score
                of the batch is returned; halves of it may still succeed.
        """
        if not batch:
            return []
        outputs = self._run(np.concatenate(batch))
        pictures, each = len(batch), self._input.crops
        logits = _shaped(outputs, LOGIT, pictures, each, 0)
        with np.errstate(over="ignore"):  # an overflow is infinite, and refused in words
            embeddings = _shaped(outputs, EMBEDDING, pictures, each, 1).mean(axis=1).astype(np.float16)
        if not np.isfinite(embeddings).all():
            raise InferenceFailed("an embedding does not fit into float16", where=self.digest)
        patches = _shaped(outputs, PATCHES, pictures, each, 2) if PATCHES in outputs else None
        return [
            self._score(logits[number], embeddings[number], None if patches is None else patches[number])
            for number in range(pictures)
        ]

    def _score(self, logits: _Floats, embedding: npt.NDArray[np.float16], patches: _Floats | None) -> Score:
        logit = float(logits.mean(dtype=np.float64))
        p_ai = self._calibration.probability(logit)
        return Score(logit, p_ai, self._calibration.verdict(p_ai), embedding, logits, patches)

    def _run(self, pixels: Crops) -> dict[str, npt.NDArray[np.generic]]:
        try:
            outputs = self._session.run(self._outputs, {INPUT: pixels})
        except RUNTIME_ERRORS as error:
            raise InferenceFailed(f"the model failed on {len(pixels)} crops: {error}", where=self.digest) from error
        return dict(zip(self._outputs, outputs, strict=True))


def _shaped(
    outputs: dict[str, npt.NDArray[np.generic]], name: str, pictures: int, each: int, dimensions: int
) -> _Floats:
    """An output ``[pictures·each, …]`` as float32 ``[pictures, each, …]``; ``dimensions`` counts those at ``…``."""
    found = outputs[name]
    if found.ndim != 1 + dimensions or found.shape[0] != pictures * each:
        raise InferenceFailed(f"{name} has shape {found.shape} for {pictures * each} crops")
    values = found.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise InferenceFailed(f"{name} is not finite for a picture of the batch")
    return values.reshape(pictures, each, *found.shape[1:])
