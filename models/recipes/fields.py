"""The fields of a recipe: what every run has, and what each of the two kinds adds."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.dataset.policy import Policy
from models.evaluation.delivery import TIERS, Tier

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Common(_Fields):
    """What both kinds have: names, the crops a worker cuts, the embedding, the rates that thresholds are set at."""

    name: str
    version: str
    seed: Annotated[int, Field(ge=0)] = 1
    crops: Annotated[int, Field(ge=1, le=16, description="Crops of one picture when serving")] = 1
    served: Annotated[Literal["fp32", "int8"], Field(description="What the shipped trunk computes in")] = "fp32"
    dimensions: Annotated[int, Field(ge=2, description="Of the embedding")] = 64
    false_positive_rate: Rate = 0.05
    false_negative_rate: Rate = 0.2
    checks: Annotated[Policy, Field(description="Limits of the check before training")] = Policy()
    prepare: Annotated[
        tuple[str, ...], Field(description="Commands that make what no archive holds, for the card")
    ] = ()

    def made_by(self, command: str) -> str:
        """What a card says of how to make the bundle again, by ``command`` at last."""
        before = ", ".join(f"`{each}`" for each in self.prepare)
        return f"Made by `{command}`" + (f", after {before}." if before else ".")


class Frozen(Common):
    """A frozen trunk's features and a linear head; every field is explained in ``default.yaml``."""

    kind: Literal["frozen"] = "frozen"
    architecture: str = "efficientnet_lite0"
    options: dict[str, Any] = {}
    weights: Annotated[str, Field(min_length=1, description="A published name, or none")] = "imagenet"
    crop: Annotated[int, Field(ge=32, le=1024)] = 128
    variants: Annotated[int, Field(ge=0)] = 6
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)] = TIERS
    shrinkage: Positive = 0.3
    steadiness: Annotated[float, Field(ge=1, le=100)] = 1.0
    simulated: Annotated[float, Field(gt=0, le=1, description="Share of all weight that simulated scenes have")] = 0.2
    clip: Positive = 6.0
    log_odds: Annotated[
        Positive | None, Field(description="Logits are log-odds times this; left out, their spread within a class is 1")
    ] = None


class Delivery(_Fields):
    """Degraded as uploads are, drawn alike for both classes: `models.training.variants`."""

    kind: Literal["delivery"] = "delivery"


class Shifts(_Fields):
    """Mirrored and shifted by up to ``pixels``, the edge filled by reflection; drawn once for every ``group``."""

    kind: Literal["shifts"] = "shifts"
    pixels: Annotated[int, Field(ge=0, le=16)] = 2
    group: Annotated[int, Field(ge=1, description="Pictures that share a draw")] = 32


class Finetune(Common):
    """A network trained by gradient descent; every field is explained in ``cifake-32.yaml``."""

    kind: Literal["finetune"] = "finetune"
    architecture: str
    options: dict[str, Any] = {}
    weights: Annotated[str, Field(min_length=1, description="A published name, none, or folder for --weights")] = "none"
    crop: Annotated[int, Field(ge=16, le=1024)]
    epochs: Annotated[int | None, Field(ge=1)] = None
    steps: Annotated[int | None, Field(ge=1)] = None
    batch: Annotated[int, Field(ge=2)] = 32
    accumulation: Annotated[int, Field(ge=1)] = 1
    rate: Positive = 3e-3
    trunk_rate: Positive | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warm_up: Share = 0.15
    gradient_clip: Positive = 2.0
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    average: Annotated[float, Field(ge=0, lt=1)] = 0.998
    frozen: Share = 0.0
    thaw: Annotated[int | None, Field(ge=1)] = None
    batch_norm: Literal["moving", "frozen"] = "moving"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    augmentation: Annotated[Delivery | Shifts, Field(discriminator="kind")] = Delivery()
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)] = TIERS
    validation: Rate = 0.1
    validations: Annotated[int | None, Field(ge=1)] = None
    patience: Annotated[int | None, Field(ge=1)] = None
    clip: Positive = 10.0

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("either epochs or steps must be given, and not both")
        if self.batch % self.accumulation:
            raise ValueError(f"a batch of {self.batch} cannot be computed in {self.accumulation} equal parts")
        if "clean" not in self.tiers:
            raise ValueError("clean must be among the tiers")
        return self


Recipe = Annotated[Frozen | Finetune, Field(discriminator="kind")]
