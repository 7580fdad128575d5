"""Embeddings for tests: one world, and the same with something new in it."""

from functools import cache

import numpy as np
import numpy.typing as npt

from drift.reference import Reference

Floats = npt.NDArray[np.float32]
DIGEST = "a" * 64
WINDOW = 200


def usual(n: int, *, seed: int, dimensions: int = 12) -> tuple[Floats, Floats]:
    """Embeddings and scores of two kinds of pictures in equal parts."""
    rng = np.random.default_rng(seed)
    made = rng.random(n) < 0.5
    vectors = rng.normal(size=(n, dimensions)) * np.linspace(2.0, 0.2, dimensions)
    vectors[:, 0] += 3.0 * made
    scores = 1.0 / (1.0 + np.exp(-(vectors[:, 0] - 1.5)))
    return vectors.astype(np.float32), scores.astype(np.float32)


def contaminated(n: int, *, seed: int, share: float) -> tuple[Floats, Floats]:
    """The same with a share of something that lies apart from all of it."""
    vectors, scores = usual(n, seed=seed)
    new = np.random.default_rng(seed + 1).random(n) < share
    vectors[new, -1] += 4.0
    return vectors, scores


@cache
def reference(*, n: int = 1200, seed: int = 0, repetitions: int = 200) -> Reference:
    """A small calibrated reference of the usual world."""
    return Reference.build(
        *usual(n, seed=seed), model_digest=DIGEST, window=WINDOW, seed=seed, size=600, components=4,
        alpha=0.01, repetitions=repetitions,
    )  # fmt: skip
