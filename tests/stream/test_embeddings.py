from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream import embeddings
from stream.embeddings import Embedding
from stream.errors import MalformedEvent, UnsupportedVersion
from stream.records import Outgoing, Record

AT = datetime(2026, 1, 1, tzinfo=UTC)
vectors = st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1, max_size=40)


def arrived(sent: Outgoing, value: bytes | None = None, **headers: bytes | None) -> Record:
    merged = {**dict(sent.headers), **headers}
    kept = tuple((name, text) for name, text in merged.items() if text is not None)
    return Record("embeddings", 0, 3, 1500, sent.key, sent.value if value is None else value, kept)


def sent(numbers: list[float], score: float = 0.5) -> Outgoing:
    seen = Embedding("u1", np.array(numbers, np.float16), "d1", score, "acme", AT, "00-a-b-01")
    return embeddings.encode(seen, topic="embeddings", source="worker")


@given(vectors, st.floats(0, 1))
def test_a_vector_travels_as_little_endian_float16(numbers, score):
    out = sent(numbers, score)
    assert np.array_equal(np.frombuffer(out.value, "<f2"), np.array(numbers, np.float16))
    read = embeddings.decode(arrived(out))
    assert np.array_equal(read.vector, np.array(numbers, np.float16))
    assert (read.upload_id, read.model_digest, read.tenant, read.at) == ("u1", "d1", "acme", AT)
    assert read.score == pytest.approx(score, abs=1e-6)
    assert read.traceparent == "00-a-b-01"


def test_big_endian_arrays_are_turned_round():
    seen = Embedding("u1", np.array([1.0, 2.0], ">f2"), "d1", 0.5, "acme", AT)
    read = embeddings.decode(arrived(embeddings.encode(seen, topic="e", source="w")))
    assert read.vector.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("value", "headers", "error", "words"),
    [
        (b"\0" * 5, {}, MalformedEvent, "5 bytes where 2 float16"),
        (np.array([1, np.inf], "<f2").tobytes(), {}, MalformedEvent, "not finite"),
        (None, {"ce_dim": b"two"}, MalformedEvent, "no number"),
        (None, {"ce_modeldigest": None}, MalformedEvent, "modeldigest"),
        (None, {"ce_score": b"1.5"}, MalformedEvent, "no probability"),
        (None, {"ce_score": b"nan"}, MalformedEvent, "no probability"),
        (None, {"ce_type": b"veristream.embedding.v2"}, UnsupportedVersion, "embedding.v2"),
    ],
)
def test_what_is_no_embedding_is_said(value, headers, error, words):
    with pytest.raises(error, match=words):
        embeddings.decode(arrived(sent([1.0, 2.0]), value, **headers))


def test_a_tombstone_is_said():
    out = sent([1.0])
    with pytest.raises(MalformedEvent, match="a tombstone"):
        embeddings.decode(Record("embeddings", 0, 3, 1500, out.key, None, out.headers))
