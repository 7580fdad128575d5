import json
from datetime import UTC, datetime

import jsonschema
import pytest
import yaml
from jsonschema import Draft202012Validator

from stream import schemas
from stream.events import Event, ImageClaim, Label
from stream.messages import TYPES
from stream.settings import TopicSettings
from stream.topics import layout

EXAMPLES = sorted(schemas.EXAMPLES.items(), key=lambda item: item[0].__name__)


def schema_of(kind: type[Event]) -> dict:
    return json.loads((schemas.FOLDER / f"{kind.__name__}.v1.json").read_text("utf-8"))


def test_the_committed_contract_is_up_to_date():
    assert schemas.stale() == [], "run `veristream topics schemas --write`"


def test_writing_mends_what_is_missing_changed_or_left_over(tmp_path):
    assert set(schemas.write(tmp_path)) == set(schemas.generate())
    (tmp_path / "Label.v1.json").write_text("{}")
    (tmp_path / "Gone.v1.json").write_text("{}")
    (tmp_path / "asyncapi.yaml").unlink()
    assert schemas.stale(tmp_path) == ["Gone.v1.json", "Label.v1.json", "asyncapi.yaml"]
    schemas.write(tmp_path)
    assert schemas.stale(tmp_path) == []
    assert not (tmp_path / "Gone.v1.json").exists()


def test_every_json_event_has_a_schema_and_an_example():
    assert set(schemas.EXAMPLES) == {*TYPES, ImageClaim}


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_events_fit_their_schema_and_survive_the_wire(kind, example):
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    data = json.loads(example.to_json())
    validator.validate(data)
    validator.validate({**data, "added_later": 1})
    assert kind.from_json(example.to_json()) == example


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_what_the_models_require_the_schema_requires(kind, example):
    data = json.loads(example.to_json())
    required = [name for name, field in kind.model_fields.items() if field.is_required()]
    assert required
    for name in required:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in data.items() if key != name}, schema_of(kind))


def test_limits_are_in_the_schema():
    label = Label(upload_id="u", label="authentic", origin="golden", reviewer="r", at=datetime.now(UTC))
    data = json.loads(label.to_json())
    for change in ({"label": "maybe"}, {"upload_id": ""}, {"note": "x" * 5000}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**data, **change}, schema_of(Label))


@pytest.fixture(scope="module")
def document() -> dict:
    return yaml.safe_load((schemas.FOLDER / schemas.ASYNCAPI).read_text("utf-8"))


def resolve(document: dict, reference: str) -> dict:
    assert reference.startswith("#/")
    found = document
    for step in reference[2:].split("/"):
        found = found[step]
    return found


def test_the_asyncapi_document_has_the_shape_that_the_specification_asks_for(document):
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    assert all({"host", "protocol"} <= set(server) for server in document["servers"].values())
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert resolve(document, operation["channel"]["$ref"]) in document["channels"].values()
    for message in document["components"]["messages"].values():
        assert message["headers"]["type"] == "object"
        assert message["contentType"]
        assert message["correlationId"]["location"].startswith("$message.header#/")


def test_every_topic_is_a_channel_with_its_settings(document):
    topics = layout(TopicSettings())
    assert set(document["channels"]) == set(topics)
    for plain, topic in topics.items():
        channel = document["channels"][plain]
        binding = channel["bindings"]["kafka"]
        assert channel["address"] == topic.name
        assert (binding["partitions"], binding["topicConfiguration"]["retention.ms"]) == (
            topic.partitions,
            topic.retention_ms,
        )
        assert channel["messages"]
        for reference in channel["messages"].values():
            resolve(document, reference["$ref"])


def test_the_examples_in_the_document_fit_its_schemas(document):
    for name, message in document["components"]["messages"].items():
        for example in message["examples"]:
            jsonschema.validate(example["headers"], message["headers"])
            if "schema" in message["payload"]:
                schema = json.loads((schemas.FOLDER / message["payload"]["schema"]["$ref"]).read_text("utf-8"))
                jsonschema.validate(example["payload"], schema)
            else:
                assert message["payload"] == {"type": "string", "format": "binary"}, name


def test_cloudevents_headers_are_required(document):
    for name, message in document["components"]["messages"].items():
        required = set(message["headers"]["required"])
        assert {"ce_specversion", "ce_id", "ce_source", "ce_type", "content-type"} <= required, name
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({}, message["headers"])
