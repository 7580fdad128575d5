"""Which pictures are kept for validation: whole groups, enough of both classes on either side."""

from __future__ import annotations

from models.dataset.splits import Labels, Mask, Names, held_out
from stream.errors import ConfigurationError


def validation(labels: Labels, groups: Names, share: float, seed: int) -> Mask:
    """Marks the pictures kept for validation, ``[N]``.

    Raises:
        ConfigurationError: One side has fewer than two pictures of a class, which is what a calibration needs.
    """
    kept = held_out(groups, share, seed=seed)
    for name, side in (("training", ~kept), ("validation", kept)):
        for label, words in ((0, "real"), (1, "fake")):
            if (found := int((labels[side] == label).sum())) < 2:  # noqa: PLR2004 - see above
                raise ConfigurationError(
                    f"{found} {words} pictures are left for {name}",
                    where=f"validation: {share:g}",
                    remedy="Give more pictures, or change the share that is kept for validation.",
                )
    return kept
