"""What a bundle says of itself: `manifest.json`.

The manifest holds the SHA-256 of every other file, so the SHA-256 of the manifest's own bytes names the whole bundle.
It is written in one canonical form (`Canonical`), as the manifests of training data are, so that equal content has an
equal name.
"""

import hashlib
import json
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from stream.errors import BundleInvalid
from stream.events import Sha256, TruthName

MANIFEST = "manifest.json"
MODEL = "model.onnx"
CALIBRATION = "calibration.json"
CARD = "MODEL_CARD.md"
REFERENCE = "reference.npz"
OPTIMISATION = "optimisation.json"
DATA = "data.json"
REPLAY = "replay.npz"
WEIGHTS = "weights.npz"
REQUIRED = frozenset({MODEL, CALIBRATION, CARD})
OPTIONAL = frozenset({REFERENCE, OPTIMISATION, DATA, REPLAY, WEIGHTS})


class Section(BaseModel):
    """A part of a file of the bundle: frozen; fields this release does not know are kept, and count in its digest."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Canonical(BaseModel):
    """A file in one canonical form: sorted keys, ``indent`` spaces, UTF-8, one line feed at the end."""

    indent: ClassVar[int] = 1

    def to_bytes(self) -> bytes:
        """The canonical form."""
        content = self.model_dump(mode="json")
        text = json.dumps(content, sort_keys=True, indent=self.indent, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form."""
        return sha256(self.to_bytes())


class InputSpec(Section):
    """What the graph's one input, ``crops``, takes: uint8 ``[N, size, size, 3]``, RGB."""

    size: Annotated[int, Field(ge=16, le=1024, description="Side of a crop, pixels")]
    crops: Annotated[int, Field(ge=1, le=64, description="Crops of one picture")]
    layout: Literal["NHWC"] = "NHWC"


class TrainingSource(Section):
    """One source of training, validation or test pictures."""

    name: str
    label: TruthName
    used_for: Literal["train", "validation", "calibration", "test"]
    pictures: Annotated[int, Field(ge=0)]
    sha256: Annotated[Sha256 | None, Field(description="Of the archive, or of the sorted list of digests")] = None
    licence: str = ""


class TrainingData(Section):
    """What the model has seen, and how it was split."""

    sources: tuple[TrainingSource, ...] = ()
    split: Annotated[str, Field(description="How training and test pictures were kept apart, in words")] = ""
    seed: int | None = None


class Manifest(Section, Canonical):
    """The manifest. `Bundle.build` fills ``files``; everything else is the maker's to say."""

    indent = 2
    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(min_length=1, max_length=64)]
    created: AwareDatetime
    input: InputSpec
    preprocessing: Annotated[
        Literal["native-crops-1"], Field(description="`native-crops-1`: `models.crops`, never resized")
    ] = "native-crops-1"
    classes: tuple[TruthName, TruthName] = ("authentic", "ai_generated")
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    training_data: TrainingData = TrainingData()
    parent: Annotated[Sha256 | None, Field(description="Digest of the bundle that this one was adapted from")] = None
    start: Annotated[
        Sha256 | None,
        # Where there is none it is not written, and older manifests keep their digests.
        Field(
            description="Digest of the bundle whose weights training went on from", exclude_if=lambda value: not value
        ),
    ] = None
    metrics: Annotated[
        dict[str, dict[str, dict[str, float]]], Field(description="Delivery tier, then slice, then measure: value")
    ] = {}
    files: Annotated[dict[str, Sha256], Field(description="SHA-256 of every other file")] = {}

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str = MANIFEST) -> Self:
        """Reads a manifest.

        Raises:
            BundleInvalid: Not JSON, or not a manifest this release reads; the message names the fields.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise BundleInvalid(f"{MANIFEST} cannot be read: {faults(error)}", where=where) from error


_WORDS = {
    "extra_forbidden": "there is no such field",
    "missing": "this field is missing",
    "model_attributes_type": "it has no fields",
    "union_tag_not_found": "its kind is missing",
}


def faults(error: ValidationError) -> str:
    """The first three faults of a validation, each with its place, on one line."""
    found = error.errors(include_url=False, include_input=False)[:3]
    return "; ".join(
        f"{'.'.join(str(step) for step in fault['loc']) or 'file'}: {_WORDS.get(fault['type'], fault['msg'])}"
        for fault in found
    )


def sha256(data: bytes) -> str:
    """SHA-256 as lower-case hex."""
    return hashlib.sha256(data).hexdigest()
