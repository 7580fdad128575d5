"""What is left out of a training set, and what refuses the whole of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Reason = Literal["unreadable", "tiny", "duplicate", "near_duplicate", "conflict"]
Share = Annotated[float, Field(ge=0, le=1)]


class Policy(BaseModel):
    """The limits of one check; a recipe may state them. Unknown keys are refused.

    Left out, picture by picture: what cannot be decoded; what is smaller than ``smallest_side``; all but the first of
    byte-identical pictures of one class; all but the largest of nearly identical ones of one class; every copy of a
    picture that is there, identical or nearly so, under both labels, for one of its labels is wrong and nothing says
    which. Different pictures of one group (`models.dataset.splits`: crops of one photograph, or a photograph and its
    reconstructions) are known to be alike, and so no fault of the set.

    Refused, as a whole: a share left out for one reason over its limit, which means that something is wrong with the
    set and not with a few pictures; a class that holds too small a share of what is kept; a leak.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    smallest_side: Annotated[int, Field(ge=1, description="Pixels; a picture with a shorter side is left out")] = 32
    hash_distance: Annotated[int, Field(ge=0, le=8, description="Bits in which nearly identical hashes may differ")] = 4
    likeness: Annotated[float, Field(gt=0, le=1, description="Least cosine of nearly identical coefficients")] = 0.95
    unreadable: Share = 0.05
    tiny: Share = 0.2
    duplicates: Annotated[Share, Field(description="Byte-identical and nearly identical ones together")] = 0.5
    conflicts: Share = 0.02
    smaller_class: Annotated[float, Field(ge=0, le=0.5, description="Least share of the smaller class")] = 0.1
    leak: Annotated[float, Field(ge=0.5, le=1, description="Balanced accuracy that files alone may reach")] = 0.55
    probe_pictures: Annotated[int, Field(ge=10, description="At most so many are probed, drawn by the seed")] = 3000
    seed: Annotated[int, Field(ge=0)] = 1
