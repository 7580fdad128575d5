"""The contract for those who do not read Python: a JSON Schema per JSON event and one AsyncAPI 3.0 document.

Generated from the event models and the topics' layout and committed under ``stream/contract``; a test fails when they
are out of date, and ``veristream topics schemas --write`` brings them up to date.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stream import deadletter, embeddings, messages, uploads
from stream.embeddings import Embedding
from stream.errors import TruncatedImage
from stream.events import (
    SCHEMA_VERSION,
    DriftReport,
    Event,
    Evidence,
    ImageClaim,
    ImageFacts,
    Label,
    ModelRef,
    RetrainStep,
    ShadowVerdict,
    SlotChange,
    ThresholdIds,
    Timings,
    Truth,
    Verdict,
    Window,
)
from stream.records import Outgoing, Record
from stream.settings import TopicSettings
from stream.topics import Plain, Topic, layout
from stream.uploads import Upload

FOLDER = Path(__file__).parent / "contract"
ASYNCAPI = "asyncapi.yaml"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FORMAT = "application/schema+json;version=2020-12"
_MAJOR = SCHEMA_VERSION.partition(".")[0]
_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_UPLOAD, _SHA256, _DIGEST = "01JGJX7Q0V", "9f" * 32, "5e" * 32
_RECEIVED = frozenset({"uploads", "uploads.backfill", "feedback"})

_CLAIM = ImageClaim(uri="s3://uploads/cat.jpg", sha256=_SHA256, media_type="image/jpeg", size=2_345_678)

EXAMPLES: Mapping[type[Event], Event] = {
    ImageClaim: _CLAIM,
    Verdict: Verdict(
        upload_id=_UPLOAD,
        verdict="ai_generated",
        p_ai=0.97,
        thresholds=ThresholdIds(authentic_below="fpr_5_percent", ai_above="fpr_1_percent"),
        evidence=(Evidence(kind="crop", detail="strongest crop", score=0.99, box=(0, 0, 256, 256)),),
        model=ModelRef(name="scout", version="1", digest=_DIGEST, provider="CPUExecutionProvider", precision="fp32"),
        image=ImageFacts(sha256=_SHA256, media_type="image/jpeg", width=1024, height=768),
        timings_ms=Timings(queue=4.1, fetch=0.0, decode=9.8, infer=6.2, total=24.0),
        occurred_at=_AT,
        decided_at=_AT,
    ),
    ShadowVerdict: ShadowVerdict(
        upload_id=_UPLOAD,
        verdict="authentic",
        p_ai=0.08,
        model=ModelRef(name="scout", version="2", digest="6f" * 32, provider="CPUExecutionProvider", precision="int8"),
        infer_ms=5.9,
        champion_verdict="ai_generated",
        champion_p_ai=0.97,
        champion_digest=_DIGEST,
        champion_infer_ms=6.2,
        decided_at=_AT,
    ),
    Label: Label(upload_id=_UPLOAD, label="authentic", origin="appeal", reviewer="moderator-7", at=_AT),
    Truth: Truth(
        upload_id=_UPLOAD, label="authentic", family="camera", persona="casual", tier="web", phase="calm", sent_at=_AT
    ),
    DriftReport: DriftReport(report_id="drift-17", model_digest=_DIGEST, status="ok", window=Window(size=500), at=_AT),
    SlotChange: SlotChange(slot="champion", uri="s3://models/bundle.tar", digest=_DIGEST, reason="promoted", at=_AT),
    RetrainStep: RetrainStep(job_id="retrain-3", step="refused", reason="worse on golden set", at=_AT),
}


def generate() -> dict[str, str]:
    """Every file of the contract: its text by its name."""
    files = {_file(kind): _json_schema(kind) for kind in EXAMPLES}
    files[ASYNCAPI] = yaml.safe_dump(asyncapi(), sort_keys=False, allow_unicode=True, width=110)
    return files


def stale(folder: Path = FOLDER) -> list[str]:
    """Names of the files that are missing, out of date, or no longer part of the contract."""
    wanted = generate()
    there = {path.name for pattern in ("*.json", "*.yaml") for path in folder.glob(pattern)}
    changed = {name for name, text in wanted.items() if name in there and (folder / name).read_text("utf-8") != text}
    return sorted((set(wanted) ^ there) | changed)


def write(folder: Path = FOLDER) -> list[str]:
    """Brings the folder up to date; returns the names of the files that it changed."""
    wanted, changed = generate(), stale(folder)
    for name in changed:
        if name in wanted:
            (folder / name).write_text(wanted[name], "utf-8")
        else:
            (folder / name).unlink()
    return changed


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI document, from the default layout of the topics."""
    topics = layout(TopicSettings())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Veristream",
            "version": SCHEMA_VERSION,
            "description": "Uploads in, verdicts out. CloudEvents 1.0 in Kafka binary mode: attributes are `ce_*` "
            "headers, the value is the data. Unknown fields are kept; unknown major versions are dead-lettered.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": messages.CONTENT_TYPE,
        "servers": {"kafka": {"host": "localhost:9092", "protocol": "kafka"}},
        "channels": {topic.plain: _channel(topic) for topic in topics.values()},
        "operations": {
            topic.plain: {
                "action": "receive" if topic.plain in _RECEIVED else "send",
                "channel": {"$ref": f"#/channels/{topic.plain}"},
                "summary": topic.description,
            }
            for topic in topics.values()
        },
        "components": {"messages": _messages()},
    }


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"{topic.description}. Key: {topic.key}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _carried(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": [topic.cleanup],
                    "retention.ms": topic.retention_ms,
                    "max.message.bytes": topic.max_message_bytes,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _carried(topic: Topic) -> tuple[str, ...]:
    if topic.event is not None:
        return (topic.event.__name__,)
    bytes_on: dict[Plain, tuple[str, ...]] = {
        "uploads": ("UploadInline", "UploadClaim"),
        "uploads.backfill": ("UploadInline", "UploadClaim"),
        "embeddings": ("Embedding",),
    }
    return bytes_on.get(topic.plain, ("DeadLetter",))


def _messages() -> dict[str, Any]:
    inline = Upload(_UPLOAD, b"\xff\xd8...", "image/jpeg", "account-42", _AT)
    by_claim = Upload(_UPLOAD, _CLAIM, _CLAIM.media_type, "account-42", _AT)
    seen = Embedding(_UPLOAD, np.zeros(4, np.float16), _DIGEST, 0.97, "default", _AT)
    upload = uploads.encode(inline, topic="uploads")
    record = Record("uploads", 3, 1042, 0, upload.key, upload.value, upload.headers)
    letter = deadletter.letter(
        record,
        TruncatedImage("the picture ends at row 7 of 768"),
        stage="decode",
        attempts=1,
        model_digest=_DIGEST,
        topic="uploads.dlq",
        at=_AT,
    )
    found = {
        "UploadInline": _message("A picture's own bytes", upload, {"type": "string", "format": "binary"}),
        "UploadClaim": _message(
            "A picture in a blob store", uploads.encode(by_claim, topic="uploads"), _reference(ImageClaim), _CLAIM
        ),
        "Embedding": _message(
            "`dim` numbers, little-endian float16",
            embeddings.encode(seen, topic="embeddings", source="veristream/worker"),
            {"type": "string", "format": "binary"},
        ),
        "DeadLetter": _message("The original record and why it died", letter, {"type": "string", "format": "binary"}),
    }
    for kind in messages.TYPES:
        event = EXAMPLES[kind]
        key = str(next(iter(event.model_dump(exclude={"schema_version"}).values())))
        record_out = messages.encode(event, topic="", key=key, source="veristream", time=_AT)
        found[kind.__name__] = _message(_title(kind), record_out, _reference(kind), event)
    return found


def _message(title: str, record: Outgoing, payload: dict[str, Any], example: Event | None = None) -> dict[str, Any]:
    headers = {name: value.decode() for name, value in record.headers}
    sample: dict[str, Any] = {"headers": headers}
    if example is not None:
        sample["payload"] = json.loads(example.to_json())
    return {
        "title": title,
        "contentType": headers["content-type"],
        "headers": {
            "type": "object",
            "required": [name for name in headers if name.startswith(("ce_", "dlq_", "content-type"))],
            "properties": {name: _header(name, value) for name, value in headers.items()},
        },
        "payload": payload,
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
        "correlationId": {"location": "$message.header#/ce_subject"},
        "examples": [sample],
    }


def _header(name: str, value: str) -> dict[str, Any]:
    if name in ("ce_specversion", "ce_type"):
        return {"type": "string", "const": value}
    if name in ("ce_time", "dlq_at"):
        return {"type": "string", "format": "date-time"}
    return {"type": "string"}


def _reference(kind: type[Event]) -> dict[str, Any]:
    return {"schemaFormat": _FORMAT, "schema": {"$ref": f"./{_file(kind)}"}}


def _file(kind: type[Event]) -> str:
    return f"{kind.__name__}.v{_MAJOR}.json"


def _title(kind: type[Event]) -> str:
    return (kind.__doc__ or kind.__name__).partition("\n")[0]


def _json_schema(kind: type[Event]) -> str:
    schema = {"$schema": _DIALECT, "$id": f"urn:veristream:{kind.__name__}:{_MAJOR}", **kind.model_json_schema()}
    schema["examples"] = [json.loads(EXAMPLES[kind].to_json())]
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
