"""Kullback-Leibler divergence of two samples, column by column: Evidently's `kl_div` without pandas.

Both samples of a column are counted in equal-width bins over their common range, as many as Sturges' rule asks for
(H. Sturges, "The choice of a class interval", JASA 21, 1926), and the divergence of the two histograms is taken in
nats, each histogram scaled to sum to one. An empty bin gets the share 1e-4, or a millionth of the smallest share where
that is no more than 1e-4. Where the reference has at most 20 different values, its values are the bins. All of this is
what Evidently 0.7 does to a numeric column, and a test holds the two together; here a column costs microseconds, so
that thresholds can be calibrated from thousands of evaluations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stream.errors import MalformedEvent

Columns = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]

FORWARD, BACKWARD = "kl_div(reference, current)", "kl_div(current, reference)"
"""The two directions' names, in the order of `both`."""

_EMPTY_SHARE = 1e-4
_BELOW_SMALLEST = 1e6
_FEW_VALUES = 20
_GLANCE = 64
_TWO_DIMENSIONS = 2


def kl(reference: Columns, current: Columns) -> Floats:
    """The divergence of the reference from the current sample, KL(reference‖current), of every column.

    It sees what the current sample lacks; `both` also sees what it has beside.

    Args:
        reference: ``[n, C]``. Evidently gives the same figures for the same dtype.
        current: ``[m, C]``, of the same dtype. Rows of either that hold a non-finite number do not count.

    Returns:
        float64 ``[C]``, nats; 0 where a sample has no row to count, for nothing is known then.

    Raises:
        MalformedEvent: The samples do not have the same columns.
    """
    return _divergences(*_finite(reference, current))


def both(reference: Columns, current: Columns) -> Floats:
    """Both directions, as `kl` of (reference, current) and of (current, reference): float64 ``[2, C]``."""
    reference, current = _finite(reference, current)
    return np.stack([_divergences(reference, current), _divergences(current, reference)])


class Splits:
    """`both` of many splits of the same rows, each in a fraction of the time.

    A column's edges depend on its range and on how many rows are compared, so that every value's bin is known
    beforehand wherever a split reaches as far as the whole; a column in which it does not is counted anew.

    Args:
        columns: ``[n, C]``, finite.
        size: Rows of both samples of a split together.
    """

    def __init__(self, columns: Columns, size: int) -> None:
        self._columns = columns
        self._ends = columns.min(axis=0), columns.max(axis=0)
        edges = [_edges(np.resize(ends, size)) for ends in zip(*self._ends, strict=True)]
        places = [
            np.clip(np.searchsorted(edge, column, side="right") - 1, 0, len(edge) - 2)
            for edge, column in zip(edges, columns.T, strict=True)
        ]
        most = max(len(edge) - 1 for edge in edges)
        self._bins = np.array([np.arange(most) < len(edge) - 1 for edge in edges])
        self._places = np.stack(places, axis=1) + most * np.arange(len(edges))

    def both(self, reference: npt.NDArray[np.int64], current: npt.NDArray[np.int64]) -> Floats:
        """What the function `both` says of rows ``[n]`` and rows ``[m]``: float64 ``[2, C]``."""
        shares = [
            _filled(np.bincount(self._places[rows].ravel(), minlength=self._bins.size).reshape(self._bins.shape)
                    / len(rows), self._bins)
            for rows in (reference, current)
        ]  # fmt: skip
        found = np.stack([_entropy(*shares), _entropy(*shares[::-1])])
        samples = self._columns[reference], self._columns[current]
        low, high = (end(np.stack([end(sample, axis=0) for sample in samples]), axis=0) for end in (np.min, np.max))
        anew = (low != self._ends[0]) | (high != self._ends[1])
        anew |= np.any([_with_few_values(sample) for sample in samples], axis=0)
        if anew.any():
            found[:, anew] = both(*(sample[:, anew] for sample in samples))
        return found


def _divergences(reference: Columns, current: Columns) -> Floats:
    if not len(reference) or not len(current):
        return np.zeros(reference.shape[1])
    binned, bins = _counts(reference, current)
    shares = binned[0] / len(reference), binned[1] / len(current)
    found = _entropy(_filled(shares[0], bins), _filled(shares[1], bins))
    for column in np.flatnonzero(_with_few_values(reference)):
        found[column] = _by_value(reference[:, column], current[:, column])
    return found


def _finite(reference: Columns, current: Columns) -> tuple[Columns, Columns]:
    if reference.ndim != _TWO_DIMENSIONS or reference.shape[1:] != current.shape[1:]:
        raise MalformedEvent(f"columns {current.shape} cannot be compared with the reference's {reference.shape}")
    return reference[np.isfinite(reference).all(axis=1)], current[np.isfinite(current).all(axis=1)]


def _counts(reference: Columns, current: Columns) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Counts int64 ``[2, C, B]`` of both samples, and which of the ``[C, B]`` bins a column has."""
    joined = np.concatenate([reference, current])
    edges = [_edges(column) for column in joined.T]
    most = max((len(column) for column in edges), default=0) - 1
    padded = np.full((len(edges), most + 1), np.inf, joined.dtype)
    for column, own in zip(padded, edges, strict=True):
        column[: len(own)] = own
    bins = np.isfinite(padded[:, 1:])
    samples = [np.ascontiguousarray(sample.T) for sample in (reference, current)]
    above = np.array([[np.count_nonzero(sample >= edge[:, None], axis=1) for edge in padded.T] for sample in samples])
    above = above.transpose(0, 2, 1)
    above[:, np.arange(len(bins)), bins.sum(axis=1)] = 0  # a column's last bin holds its right edge as well
    return above[:, :, :-1] - above[:, :, 1:], bins


def _edges(column: Columns) -> Columns:
    try:
        with np.errstate(all="ignore"):
            return np.histogram_bin_edges(column, bins="sturges")
    except (ValueError, OverflowError):
        # Values too far apart, or too close, for the dtype to hold edges between them; Evidently would fail.
        return np.array([column.min(), column.max()])


def _filled(shares: Floats, bins: npt.NDArray[np.bool_]) -> Floats:
    smallest = np.where(shares > 0, shares, np.inf).min(axis=1, keepdims=True)
    empty = np.where(smallest <= _EMPTY_SHARE, smallest / _BELOW_SMALLEST, _EMPTY_SHARE)
    return np.where(bins, np.where(shares > 0, shares, empty), 0.0)


def _entropy(reference: Floats, current: Floats) -> Floats:
    p = reference / reference.sum(axis=1, keepdims=True)
    q = current / current.sum(axis=1, keepdims=True)
    terms = p * np.log(np.divide(p, q, out=np.ones_like(p), where=q > 0))
    found: Floats = terms.sum(axis=1)
    return found


def _with_few_values(reference: Columns) -> npt.NDArray[np.bool_]:
    glance = reference[:_GLANCE].T
    return np.array(
        [
            len(np.unique(seen)) <= _FEW_VALUES and len(np.unique(column)) <= _FEW_VALUES
            for seen, column in zip(glance, reference.T, strict=True)
        ],
        np.bool_,
    )


def _by_value(reference: Columns, current: Columns) -> float:
    values = np.unique(np.concatenate([reference, current]))
    shares = [(sample[:, None] == values).sum(axis=0)[None] / len(sample) for sample in (reference, current)]
    bins = np.ones((1, len(values)), np.bool_)
    return float(_entropy(_filled(shares[0], bins), _filled(shares[1], bins))[0])
