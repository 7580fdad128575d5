"""What a bundle keeps of its training pictures so that it can learn without them: `replay.npz`.

Not the pictures but their features, one row for each, projected on the leading principal directions and rounded to
quarters of a standard deviation, which are compressed to half a byte and change nothing that a lesson can see; with
every row's label and source, and the logit that the model gives it without having learned from it.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from models.adaptation.units import Floats, Labels, Names
from models.bundle import Bundle
from models.manifest import REPLAY
from stream.errors import BundleInvalid

LIMIT = 3 * 2**20
DIRECTIONS = 480
_MARGIN = 64 * 1024
_STEPS = 4
_LARGEST = 127
_BITS = 4.75
_BROKEN = (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """The kept rows.

    Attributes:
        basis: Directions in the standardised features, ``[width, K]``.
        rows: Features of each picture, the mean over its crops, times ``basis``: ``[n, K]``.
        logits: What the model gives each without having learned from it, ``[n]``.
        labels: 1 for machine-made, ``[n]``.
        sources: Names, ``[n]``.
    """

    basis: Floats
    rows: Floats
    logits: Floats
    labels: Labels
    sources: Names

    def towards(self, directions: Floats) -> Floats:
        """What leads from ``rows`` to other directions of the same features, ``[width, D]``: ``[K, D]``.

        The nearest there is where those do not lie within the basis.
        """
        found: Floats = scipy.linalg.solve(self.basis.T @ self.basis, self.basis.T @ directions, assume_a="pos")
        return found

    def with_more(self, rows: Floats, logits: Floats, labels: Labels, sources: Names, *, seed: int) -> Replay:
        """These rows and others, as many as there were room for: the largest sources give way first."""
        everything = Replay(
            self.basis,
            np.concatenate([self.rows, rows]),
            np.concatenate([self.logits, logits]),
            np.concatenate([self.labels, labels]),
            np.concatenate([self.sources, sources]),
        )
        return everything.of(_kept(everything.sources, room(*self.basis.shape), seed))

    def of(self, chosen: npt.NDArray[np.int64]) -> Replay:
        """The rows at these places."""
        return Replay(
            self.basis, self.rows[chosen], self.logits[chosen], self.labels[chosen], self.sources[chosen]
        )  # fmt: skip

    def to_bytes(self) -> bytes:
        """The file: plain arrays, under `LIMIT`."""
        names, place = np.unique(self.sources, return_inverse=True)
        basis, basis_scale = _small(self.basis)
        rows, rows_scale = _small(self.rows)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, basis=basis, basis_scale=basis_scale, rows=rows, rows_scale=rows_scale,
            logits=self.logits.astype(np.float32), labels=self.labels.astype(np.uint8),
            names=names.astype(np.str_), source=place.astype(np.uint16),
        )  # fmt: skip
        return buffer.getvalue()


def build(
    features: npt.NDArray[np.float32],
    logits: Floats,
    labels: Labels,
    sources: Names,
    *,
    parts: Sequence[int],
    seed: int,
) -> bytes:
    """Makes the file from a training set.

    Args:
        features: Standardised, clipped features of every picture, the mean over its serving crops, ``[n, width]``;
            delivery tiers drawn at random among the pictures, so that what is kept resembles what is served.
        logits: Of the same crops, ``[n]``, by heads that did not learn from the picture or its siblings, on the scale
            of the shipped head.
        labels: 1 for machine-made, ``[n]``.
        sources: ``real/NAME`` or ``fake/NAME``, ``[n]``.
        parts: Widths of the kinds of features, which have an equal say in the directions; see `leading`.
        seed: Of the choice of rows where there is no room for all.

    Returns:
        The bytes of `replay.npz`, at most `LIMIT`.
    """
    count = min(DIRECTIONS, *features.shape, (LIMIT - _MARGIN) // features.shape[1])
    exact = features.astype(np.float64)
    basis = _plain(*_small(leading(exact.T @ exact, count, [(width, 1.0) for width in parts])))
    whole = Replay(basis, exact @ basis, logits, labels, sources)
    return whole.of(_kept(sources, room(*basis.shape), seed)).to_bytes()


def leading(covariance: Floats, count: int, parts: Sequence[tuple[int, float]]) -> Floats:
    """The first principal directions, ``[width, count]``, of features of several kinds.

    Args:
        covariance: Of the features, ``[width, width]``.
        count: How many.
        parts: Width and say of the kinds of features, in order, which are scaled before so that their variance in sum
            is their say: a narrow kind is seen in the first directions, too.
    """
    width = len(covariance)
    scale = np.concatenate([np.full(part, np.sqrt(width * say / part)) for part, say in parts])
    _, vectors = scipy.linalg.eigh(covariance * np.outer(scale, scale), subset_by_index=[width - count, width - 1])
    return np.asarray(vectors[:, ::-1] * scale[:, None], np.float64)


def read(bundle: Bundle) -> Replay:
    """Reads a bundle's replay.

    Raises:
        BundleInvalid: The bundle has none, or its arrays do not fit each other.
    """
    if REPLAY not in bundle.files:
        remedy = "Train it again with this release, which keeps what learning needs"
        raise BundleInvalid(f"there is no {REPLAY} to keep the old knowledge by", where=bundle.digest, remedy=remedy)
    try:
        with np.load(io.BytesIO(bundle.files[REPLAY]), allow_pickle=False) as arrays:
            found = Replay(
                _plain(arrays["basis"], arrays["basis_scale"]),
                _plain(arrays["rows"], arrays["rows_scale"]),
                arrays["logits"].astype(np.float64),
                arrays["labels"].astype(np.int64),
                arrays["names"].astype(np.str_)[arrays["source"]],
            )
    except (*_BROKEN, IndexError) as error:
        raise BundleInvalid(f"{REPLAY} cannot be read: {error}", where=bundle.digest) from error
    _check(found, bundle.digest)
    return found


def _check(replay: Replay, where: str) -> None:
    count = len(replay.labels)
    fitting = (
        replay.rows.shape == (count, replay.basis.shape[1])
        and replay.logits.shape == replay.sources.shape == (count,)
        and set(replay.labels) == {0, 1}
    )
    finite = all(np.isfinite(part).all() for part in (replay.basis, replay.rows, replay.logits))
    if not fitting or not finite:
        raise BundleInvalid(f"the arrays of {REPLAY} do not fit each other or are not finite", where=where)


def room(width: int, directions: int) -> int:
    """How many rows there is room for: `_BITS` for each number, and 8 bytes for logit, label and source.

    No numbers of a given variance need more than normal ones do, 4.05 bits in steps so wide (T. Cover and J. Thomas,
    "Elements of Information Theory", 2nd edition, theorem 8.6.5), and zlib takes half a bit more.
    """
    return int((LIMIT - _MARGIN - width * directions * _BITS / 8) / (directions * _BITS / 8 + 8))


def _kept(sources: Names, room: int, seed: int) -> npt.NDArray[np.int64]:
    """Places of at most ``room`` rows, in order; every source keeps up to the same number."""
    rng = np.random.default_rng(seed)
    rank = np.empty(len(sources), np.int64)
    for name in np.unique(sources):
        member = np.flatnonzero(sources == name)
        rank[rng.permutation(member)] = np.arange(len(member))
    return np.sort(np.argsort(rank, kind="stable")[:room])


def _small(values: Floats) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Columns as int8 with a scale each, `_STEPS` to their root mean square."""
    scale = np.maximum(np.sqrt((values**2).mean(0)) / _STEPS, np.finfo(np.float32).tiny).astype(np.float32)
    return np.clip(np.rint(values / scale), -_LARGEST, _LARGEST).astype(np.int8), scale


def _plain(values: npt.NDArray[np.int8], scale: npt.NDArray[np.float32]) -> Floats:
    return values.astype(np.float64) * scale.astype(np.float64)
