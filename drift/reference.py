"""What a model's embeddings look like while the world is as it was: the reference that windows are compared with.

It is frozen when a model is promoted and never changes afterwards; a world that drifts away slowly must not take its
own yardstick along. As bytes it is an npz of plain arrays, which lies in a bundle or beside it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from drift import discrepancy, layout
from drift.discrepancy import Discrepancy
from drift.neighbours import Neighbours
from drift.projection import COMPONENTS, Projection, checked
from drift.shift import Shift, unseen, views
from drift.thresholds import ALPHA, REPETITIONS, Thresholds
from stream.errors import ReferenceInvalid

Floats = npt.NDArray[np.float32]

SIZE = 2000
SMALLEST_WINDOW = 50
SMALLEST_REFERENCE = 100
PARTS = (1, 2, 4)

_REMEDY = "Build one with `veristream models reference`"
_UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Reference:
    """A frozen reference. Make it with `build` or `read`.

    Attributes:
        model_digest: Digest of the bundle whose embeddings these are; empty in a reference that lies in the bundle
            itself, whose digest it cannot know and is covered by.
        projection: From embeddings to columns.
        vectors: float32 ``[n, D]``, the reference's embeddings.
        scores: float32 ``[n]``, their calibrated scores.
        shifts: Where the means of unchanged embeddings lie, of each of `drift.shift.views`.
        thresholds: For every window size that was calibrated, largest first.
        strangeness: float32 ``[m]``, ascending: `drift.neighbours` distances of embeddings that nothing happened to.
        discrepancy: The shadow statistic, calibrated.
    """

    model_digest: str
    projection: Projection
    shifts: tuple[Shift, ...]
    vectors: Floats
    scores: Floats
    thresholds: tuple[Thresholds, ...]
    strangeness: Floats
    discrepancy: Discrepancy

    @classmethod
    def build(
        cls,
        vectors: Floats,
        scores: Floats,
        *,
        model_digest: str,
        window: int,
        seed: int,
        size: int = SIZE,
        alpha: float = ALPHA,
        components: int = COMPONENTS,
        repetitions: int = REPETITIONS,
        parts: Sequence[int] = PARTS,
    ) -> Self:
        """Freezes a reference and calibrates its thresholds, which takes seconds; equal arguments, equal bytes.

        Args:
            vectors: float32 ``[n, D]``: embeddings of ordinary traffic, 5,000 and more if they can be had.
            scores: float32 ``[n]``: their calibrated scores.
            model_digest: Digest of the bundle that made them; empty for a reference that will lie in it.
            window: Embeddings that will be judged together.
            seed: Of the choice of the reference and of the re-partitions.
            size: Embeddings to keep and compare with; fewer where ``vectors`` are too few to spare a window besides.
            alpha: Share of unchanged windows, at most, in which something exceeds its threshold.
            components: Principal directions to watch.
            repetitions: Re-partitions for each window size.
            parts: The window is calibrated whole and in such parts, for windows that close by age; 1 first.

        Raises:
            ReferenceInvalid: Too few embeddings, or not one finite score for each.
            MalformedEvent: An embedding is not finite.
        """
        kept = min(size, len(vectors) - window)
        if window < SMALLEST_WINDOW or kept < SMALLEST_REFERENCE:
            what = f"{len(vectors)} embeddings are too few for a reference and windows of {window}"
            raise ReferenceInvalid(what, where=model_digest, remedy=f"Collect at least {window + size}")
        checked(vectors, vectors.shape[1])
        if scores.shape != (len(vectors),) or not np.isfinite(scores).all():
            raise ReferenceInvalid("there is not one finite score for each embedding", where=model_digest)
        order = np.random.default_rng(seed).permutation(len(vectors))
        vectors, scores = (part[order].astype(np.float32) for part in (vectors, scores))
        projection = Projection.fit(vectors, components=components)
        columns = _columns(projection, vectors, scores)
        seen = views(vectors, scores)
        shifts = tuple(map(Shift.fit, seen))
        whitened = [shift.whitened(view) for shift, view in zip(shifts, seen, strict=True)]
        sizes = [part for share in parts if (part := window // share) >= SMALLEST_WINDOW]
        levels = tuple(
            Thresholds.calibrate(
                columns, whitened, n_reference=kept, n_current=part, alpha=alpha, repetitions=repetitions, seed=seed
            )
            for part in sizes
        )
        neighbours = Neighbours(shifts[0], vectors[:kept])
        strangeness = np.concatenate([neighbours.own_distances(), neighbours.distances(vectors[kept:])])
        strangeness *= np.float32(unseen(whitened[0]) ** 0.5)
        shadow = discrepancy.fit(vectors, n_reference=kept, sizes=sizes, alpha=alpha, seed=seed)
        strangeness.sort()
        return cls(model_digest, projection, shifts, vectors[:kept], scores[:kept], levels, strangeness, shadow)

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called: components, ``residual``, ``score``."""
        return (*self.projection.names, "score")

    @property
    def window(self) -> int:
        """Embeddings of a full window."""
        return self.thresholds[0].n_current

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the arrays, however they are compressed: the name that reports call this reference by."""
        hashed = hashlib.sha256()
        for name, array in layout.arrays(self).items():
            hashed.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            hashed.update(np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()

    def columns(self, vectors: npt.NDArray[np.floating], scores: npt.NDArray[np.floating]) -> Floats:
        """What is watched of a window: float32 ``[n, D]`` and ``[n]`` to float32 ``[n, K + 2]``, as `names` has it.

        Raises:
            MalformedEvent: Embeddings of another length, or a number is not finite.
        """
        return _columns(self.projection, vectors.astype(np.float32), scores)

    def own_columns(self) -> Floats:
        """The columns of the reference itself."""
        return self.columns(self.vectors, self.scores)

    def thresholds_for(self, size: int) -> Thresholds | None:
        """The thresholds of the largest calibrated window no larger than ``size``; None where it is too small to judge.

        Chance reaches higher in a smaller window, so a window between two sizes is judged too leniently, never too
        strictly.
        """
        return next((level for level in self.thresholds if level.n_current <= size), None)

    def neighbours(self) -> Neighbours:
        """How far embeddings lie from this reference."""
        return Neighbours(self.shifts[0], self.vectors)

    def to_bytes(self) -> bytes:
        """The reference as an npz of plain arrays."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **layout.arrays(self))
        return buffer.getvalue()

    @classmethod
    def read(cls, data: bytes, where: str = "", *, model_digest: str | None = None) -> Self:
        """Reads a reference.

        Args:
            data: What `to_bytes` gave.
            where: Told in the error.
            model_digest: The model it must belong to. A reference out of a bundle belongs to that one.

        Raises:
            ReferenceInvalid: Not a reference of this format, of another model, or with numbers that cannot be.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                found = cls(**layout.parts({name: file[name] for name in file.files}))
        except _UNREADABLE as error:
            raise ReferenceInvalid(f"the reference cannot be read: {error}", where=where, remedy=_REMEDY) from error
        if model_digest is not None and not found.model_digest:
            return replace(found, model_digest=model_digest)
        if model_digest is not None and found.model_digest != model_digest:
            what = f"the reference is of model {found.model_digest}, not of {model_digest}"
            raise ReferenceInvalid(what, where=where, remedy=_REMEDY)
        return found


def _columns(projection: Projection, vectors: Floats, scores: npt.NDArray[np.floating]) -> Floats:
    checked(scores[:, None], 1)
    return np.concatenate([projection.apply(vectors), scores.astype(np.float32)[:, None]], axis=1)
