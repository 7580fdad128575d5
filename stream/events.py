"""The events of every topic, as frozen pydantic models: the contract that JSON Schemas and AsyncAPI are made from.

Unknown fields are kept, so that an old reader passes on what a new writer said; an unknown major version is refused.
Uploads and embeddings carry bytes, not JSON: `stream.uploads` and `stream.embeddings` read and write those.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from stream.errors import MalformedEvent, UnsupportedVersion

SCHEMA_VERSION = "1.0"
_MAJOR = SCHEMA_VERSION.partition(".")[0]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, lower-case hex")]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
LONGEST_ID = 256
Identifier = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Milliseconds = Annotated[float, Field(description="Milliseconds")]
VerdictName = Literal["ai_generated", "authentic", "uncertain"]
TruthName = Literal["ai_generated", "authentic"]
Slot = Literal["champion", "challenger", "shadow", "previous"]
Arm = Literal["champion", "challenger"]


def _known_major(version: str) -> str:
    if version.partition(".")[0] != _MAJOR:
        remedy = "Upgrade this reader or fix the producer"
        raise UnsupportedVersion(f"schema version {version!r} is not {_MAJOR}.x", remedy=remedy)
    return version


class Part(BaseModel):
    """A piece of an event: frozen, unknown fields kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Event(Part):
    """What every JSON event shares."""

    schema_version: Annotated[str, AfterValidator(_known_major)] = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """The event as UTF-8 JSON, unknown fields included."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes | None, *, where: str = "") -> Self:
        """Reads an event.

        Raises:
            MalformedEvent: Not JSON, or not this event; the message names the fields.
            UnsupportedVersion: A major version this release does not know.
        """
        if data is None:
            raise MalformedEvent(f"a tombstone where a {cls.__name__} was expected", where=where)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            faults = "; ".join(_fault(fault) for fault in error.errors(include_url=False, include_input=False)[:3])
            raise MalformedEvent(f"not a valid {cls.__name__}: {faults}", where=where) from error


def _fault(fault: Any) -> str:
    place = ".".join(str(step) for step in fault["loc"])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])


class ImageClaim(Event):
    """The claim check of an upload whose bytes lie in a blob store."""

    uri: Annotated[str, Field(min_length=1, max_length=2048, description="s3:// or file:// under an allowed root")]
    sha256: Sha256
    media_type: Annotated[str, Field(pattern=r"^image/[a-z0-9.+-]+$")]
    size: Annotated[int, Field(ge=1, description="Bytes")]


class ImageFacts(Part):
    """What was found when the picture was opened."""

    sha256: Sha256
    media_type: str
    width: Annotated[int, Field(ge=1, description="Pixels, after EXIF orientation")]
    height: Annotated[int, Field(ge=1, description="Pixels, after EXIF orientation")]
    frames: Annotated[int, Field(ge=1)] = 1


class ModelRef(Part):
    """Which model spoke, and on what."""

    name: str
    version: str
    digest: Annotated[str, Field(description="Digest of the bundle")]
    provider: Annotated[str, Field(description="ONNX Runtime execution provider really in use")]
    precision: str


class ThresholdIds(Part):
    """Names of the two thresholds in the bundle's calibration that the verdict was taken at."""

    authentic_below: str
    ai_above: str


class Evidence(Part):
    """One reason for a verdict, in words and as a number."""

    kind: Annotated[
        str,
        Field(
            description="`classifier` (whole picture), `crop` (one place), `cache` (seen before), `fallback` (the "
            "model on trial failed, the champion judged)"
        ),
    ]
    detail: str
    score: Probability | None = None
    box: Annotated[
        tuple[int, int, int, int] | None, Field(description="left, top, right, bottom in pixels, for a crop")
    ] = None


class Timings(Part):
    """Where the time went; `total` is from the event's time of occurrence to the decision."""

    queue: Milliseconds
    fetch: Milliseconds
    decode: Milliseconds
    infer: Milliseconds
    total: Milliseconds


class Position(Part):
    """Where a record lies."""

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]


class Verdict(Event):
    """What the detector says of one upload; exactly one per upload event for `read_committed` readers."""

    upload_id: Identifier
    tenant: str = "default"
    verdict: VerdictName
    p_ai: Annotated[Probability, Field(description="Calibrated probability that the picture is machine-made")]
    thresholds: ThresholdIds
    evidence: tuple[Evidence, ...] = ()
    generator: Annotated[str | None, Field(description="Best guess, if the model gives one")] = None
    model: ModelRef
    arm: Arm = "champion"
    image: ImageFacts
    upload_at: Annotated[Position | None, Field(description="Where the upload lies, while its topic keeps it")] = None
    timings_ms: Timings
    occurred_at: AwareDatetime
    decided_at: AwareDatetime


class ShadowVerdict(Event):
    """What a model on trial would have said of an upload, beside what the champion said; nobody acts on it."""

    upload_id: Identifier
    tenant: str = "default"
    verdict: VerdictName
    p_ai: Probability
    model: ModelRef
    infer_ms: Milliseconds
    champion_verdict: VerdictName
    champion_p_ai: Probability
    champion_digest: str
    champion_infer_ms: Milliseconds
    decided_at: AwareDatetime


class Label(Event):
    """A decision about one upload by a person or a trusted source; the topic is the audit log."""

    upload_id: Identifier
    label: TruthName
    origin: Literal["moderator", "appeal", "golden", "user_report", "simulated"]
    reviewer: Identifier
    at: AwareDatetime
    note: Annotated[str, Field(max_length=4096)] = ""


class Truth(Event):
    """What the traffic generator made; on a topic of its own that no worker reads."""

    upload_id: Identifier
    label: TruthName
    family: Annotated[str, Field(description="How the picture was made, such as `camera` or a decoder family")]
    persona: str
    tier: Annotated[str, Field(description="Delivery tier: clean, web, hard")]
    phase: str
    sent_at: AwareDatetime


class ComponentDrift(Part):
    """One monitored number and its own threshold."""

    name: Annotated[str, Field(description="Such as `component 3`, `residual`, `score`, `accuracy`")]
    statistic: Annotated[str, Field(description="Such as `kl_div(reference, current)`")]
    value: float
    threshold: float
    alarmed: bool


class Window(Part):
    """The embeddings or labels a report speaks of."""

    id: Annotated[str, Field(description="The same for the same records, whoever evaluates them")] = ""
    size: Annotated[int, Field(ge=0)]
    first_at: AwareDatetime | None = None
    last_at: AwareDatetime | None = None
    ends: Annotated[
        dict[str, Annotated[int, Field(ge=0)]],
        Field(description="By partition, the offset behind the last record of this window and all before it"),
    ] = {}


class DriftReport(Event):
    """One evaluation of one window: embeddings against a model's reference, or labels against its verdicts."""

    report_id: Identifier
    kind: Literal["embeddings", "labels"] = "embeddings"
    model_digest: str
    reference: Annotated[str, Field(description="Digest of the reference that the window was compared with")] = ""
    tenant: Annotated[str | None, Field(description="Whose uploads; null: all of them")] = None
    status: Literal["ok", "warning", "alarm", "recovered"]
    reason: Annotated[str, Field(description="Why the status is what it is, in words")] = ""
    components: tuple[ComponentDrift, ...] = ()
    window: Window
    suspects: Annotated[tuple[str, ...], Field(description="Upload ids that look newest")] = ()
    report_uri: Annotated[str | None, Field(description="Evidently's page, on an alarm")] = None
    suspects_uri: Annotated[str | None, Field(description="The page of suspect pictures, on an alarm")] = None
    at: AwareDatetime


class SlotChange(Event):
    """A model enters or leaves a slot; compacted by slot, so the topic's end is the present state.

    The champion speaks. The challenger speaks for its ``traffic_share`` of the uploads (the canary). The shadow is
    asked about its ``traffic_share`` and never speaks. The previous champion waits to be rolled back to.
    """

    slot: Slot
    uri: Annotated[str | None, Field(description="URI of the packed bundle; null empties the slot")]
    digest: str | None
    traffic_share: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    reason: str = ""
    at: AwareDatetime


class RetrainStep(Event):
    """One step in the life of a retraining job; the topic's end is where every job stands."""

    job_id: Annotated[Identifier, Field(description="Hash of model, reference and window: one trigger, one job")]
    step: Literal[
        "requested", "dataset_built", "trained", "evaluated", "refused",
        "registered", "shadow", "canary", "promoted", "rolled_back", "failed",
    ]  # fmt: skip
    kind: Literal["adapt", "train"] = "adapt"
    trigger: Annotated[
        str, Field(description="`drift`, `degradation`, `schedule`, `labels` or `person`, and what it was")
    ] = ""
    reason: Annotated[str, Field(description="Why, in words")] = ""
    reasons: Annotated[tuple[str, ...], Field(description="Every limit the gate found broken, in words")] = ()
    figures: Annotated[dict[str, float], Field(description="What was measured, by name")] = {}
    parent: Annotated[str | None, Field(description="Digest of the champion the job started from")] = None
    model_digest: Annotated[str | None, Field(description="Digest of the challenger, once there is one")] = None
    uri: Annotated[str | None, Field(description="What the step left: manifest, bundle or report")] = None
    at: AwareDatetime
