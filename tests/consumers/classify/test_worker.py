import io

import numpy as np
import pytest
import redis
from PIL import Image

from models.doubles import FixedClassifier
from stream import embeddings
from stream.errors import BreakerOpen
from stream.records import Outgoing
from stream.settings import BlobSettings, BreakerSettings
from tests.consumers.site import TRACE, running
from tests.models.pictures import animation, encoded, gradient, with_size

PNG = encoded(gradient(), "PNG")


def shade(level: int) -> bytes:
    """A PNG of one grey."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_upload_gets_a_verdict_and_an_embedding(site):
    with running(site, FixedClassifier(count=3)) as run:
        site.send([site.upload("up-1", encoded(gradient(120, 90), "JPEG"), "image/jpeg")])
        site.wait_answered(1)
    [verdict] = site.verdicts()
    assert verdict.upload_id == "up-1"
    assert verdict.tenant == "acme"
    assert verdict.arm == "champion"
    assert verdict.model.digest == "0" * 64
    assert verdict.model.provider == "InMemory"
    assert verdict.thresholds.ai_above == "fixed-high"
    assert (verdict.image.width, verdict.image.height, verdict.image.frames) == (120, 90, 1)
    assert verdict.image.media_type == "image/jpeg"
    assert [piece.kind for piece in verdict.evidence] == ["classifier", "crop"]
    left, top, right, bottom = verdict.evidence[1].box
    assert (right - left, bottom - top) == (32, 32)
    times = verdict.timings_ms
    assert times.total == pytest.approx(times.queue + times.fetch + times.decode + times.infer, abs=0.01)
    assert times.decode > 0
    assert verdict.decided_at >= verdict.occurred_at
    [record] = site.read("embeddings")
    embedding = embeddings.decode(record)
    assert embedding.upload_id == "up-1"
    assert embedding.score == pytest.approx(verdict.p_ai, abs=1e-6)
    assert np.allclose(embedding.vector, np.float16(verdict.p_ai))
    for said in (record, site.read("verdicts")[0]):
        assert said.key == b"up-1"
        assert said.header_map["traceparent"] == TRACE.encode()
    assert run.count("verdicts_total", {"verdict": verdict.verdict, "arm": "champion", "model": "0" * 12}) == 1
    assert run.count("uploads_consumed_total", {"topic": site.topics["uploads"]}) == 1


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_everything_is_answered_and_nothing_is_answered_again_after_a_restart(embedded_broker, make_site, delivery):
    site = make_site(embedded_broker, delivery=delivery)
    for life in range(2):
        names = [f"{life}-{number}" for number in range(150)]
        with running(site, FixedClassifier()):
            site.send([site.upload(name, shade(number % 256)) for number, name in enumerate(names)])
            site.wait_answered(150 * (life + 1))
    verdicts = site.verdicts()
    assert len(verdicts) == 300
    assert len({verdict.upload_id for verdict in verdicts}) == 300
    assert len(site.read("embeddings")) == 300


def test_a_stop_finishes_what_is_in_hand(site):
    names = [f"up-{number}" for number in range(200)]
    with running(site, FixedClassifier()) as run:
        site.send([site.upload(name, shade(7)) for name in names])
        site.wait_answered(20)
        run.stop.set()
        assert run.join() is None
    early = len(site.verdicts())
    with running(site, FixedClassifier()):
        site.wait_answered(200)
    verdicts = [verdict.upload_id for verdict in site.verdicts()]
    assert sorted(verdicts) == sorted(names)
    assert early >= 20


def claims(site, tmp_path):
    """Claim checks that must not be redeemed, with the error each is to die of and a word that explains it."""
    inside = site.claim(PNG)
    outside = tmp_path / "outside.png"
    outside.write_bytes(PNG)
    (site.blobs / "link.png").symlink_to(outside)
    root = site.blobs.as_uri()
    gone = inside.model_copy(update={"uri": f"{root}/gone.png"})
    changed = site.claim(encoded(gradient(50, 50), "PNG"))
    (site.blobs / changed.sha256).write_bytes(b"x" * changed.size)
    return {
        "gone": (gone, "BlobNotFound", "gone.png"),
        "outside": (inside.model_copy(update={"uri": outside.as_uri()}), "BlobForbidden", "outside"),
        "dots": (inside.model_copy(update={"uri": f"{root}/../outside.png"}), "BlobForbidden", "outside"),
        "encoded-dots": (inside.model_copy(update={"uri": f"{root}/%2e%2e/outside.png"}), "BlobForbidden", "outside"),
        "link": (inside.model_copy(update={"uri": f"{root}/link.png"}), "BlobForbidden", "link"),
        "scheme": (inside.model_copy(update={"uri": "https://example.org/x.png"}), "BlobForbidden", "https"),
        "bucket": (inside.model_copy(update={"uri": "s3://elsewhere/x.png"}), "BlobForbidden", "elsewhere"),
        "changed": (changed, "BlobCorrupt", "SHA-256"),
        "short": (inside.model_copy(update={"size": inside.size + 1}), "BlobCorrupt", str(inside.size + 1)),
        "vast": (inside.model_copy(update={"size": 1 << 40}), "ImageTooLarge", "limit"),
    }


def pictures():
    """Pictures that must not be opened: bytes, media type, error, and a word that explains it."""
    jpeg = encoded(gradient(200, 200), "JPEG")
    return {
        "empty": (b"", "image/png", "NotAnImage", "no bytes"),
        "text": (b"<html>hello</html>", "image/png", "NotAnImage", "begin with"),
        "truncated": (jpeg[: len(jpeg) // 2], "image/jpeg", "TruncatedImage", ""),
        "lying-header": (with_size(jpeg, 9000, 9000), "image/jpeg", "TruncatedImage", "promises"),
        "wrong-type": (PNG, "image/jpeg", "MediaTypeMismatch", "image/jpeg"),
        "vector": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", "NotAnImage", "begin with"),
    }


def without(record: Outgoing, name: str) -> Outgoing:
    return Outgoing(record.topic, record.key, record.value, tuple(h for h in record.headers if h[0] != name))


def with_header(record: Outgoing, name: str, value: bytes) -> Outgoing:
    return Outgoing(record.topic, record.key, record.value, (*without(record, name).headers, (name, value)))


def events(site):
    """Records that are no upload events, with the error each is to die of and a word that explains it."""
    good = site.upload("good", PNG)
    claim = site.upload("claim", site.claim(PNG))
    not_json = Outgoing(claim.topic, claim.key, b"{not json", claim.headers)
    version = Outgoing(claim.topic, claim.key, claim.value.replace(b'"1.0"', b'"9.0"'), claim.headers)
    return {
        "no-headers": (Outgoing(good.topic, b"", good.value, ()), "MalformedEvent", "missing headers"),
        "no-type": (without(good, "ce_type"), "MalformedEvent", "ce_type"),
        "foreign-type": (with_header(good, "ce_type", b"com.example.other"), "MalformedEvent", "com.example.other"),
        "next-type": (with_header(good, "ce_type", b"veristream.upload.v2"), "UnsupportedVersion", "v2"),
        "next-spec": (with_header(good, "ce_specversion", b"2.0"), "UnsupportedVersion", "2.0"),
        "not-json": (not_json, "MalformedEvent", "JSON"),
        "next-schema": (version, "UnsupportedVersion", "9.0"),
        "not-utf-8": (with_header(good, "ce_source", b"\xff\xfe"), "MalformedEvent", "UTF-8"),
        "no-zone": (with_header(good, "ce_time", b"2026-01-01T00:00:00"), "MalformedEvent", "zone"),
        "no-picture": (with_header(good, "content-type", b"text/plain"), "MalformedEvent", "text/plain"),
        "tombstone": (Outgoing(good.topic, good.key, None, good.headers), "MalformedEvent", "tombstone"),
    }


def test_each_bad_input_is_one_dead_letter_and_its_neighbours_keep_their_verdicts(embedded_broker, make_site, tmp_path):
    site = make_site(embedded_broker, breaker=BreakerSettings(consecutive=1000, share=1.0, window=1000))
    bad: dict[str, tuple[Outgoing, str, str, str]] = {}
    for name, (claim, error, word) in claims(site, tmp_path).items():
        bad[name] = (site.upload(name, claim), error, word, "fetch")
    for name, (data, media_type, error, word) in pictures().items():
        bad[name] = (site.upload(name, data, media_type), error, word, "decode")
    for name, (record, error, word) in events(site).items():
        bad[name] = (Outgoing(record.topic, name.encode(), record.value, record.headers), error, word, "event")
    mixed = []
    for number, (name, (record, *_)) in enumerate(bad.items()):
        mixed += [site.upload(f"ok-{number}", shade(number)), record, site.upload(f"fine-{name}", site.claim(PNG))]
    with running(site, FixedClassifier()) as run:
        site.send(mixed)
        site.wait_answered(len(mixed))
    assert len(site.verdicts()) == 2 * len(bad)
    letters = site.letters()
    assert letters.keys() == bad.keys()
    for name, (record, error, word, stage) in bad.items():
        letter = letters[name]
        assert (letter.error, letter.stage, letter.attempts) == (error, stage, 1), name
        assert word in f"{letter.what} {letter.where} {letter.why}", (name, letter)
        assert letter.what, name
        assert letter.where, name
        assert (letter.record.value, letter.topic) == (record.value, site.topics["uploads"])
    assert run.count("dead_letters_total", {"error": "BlobForbidden"}) == 6


def test_of_animations_only_a_gif_is_judged_by_its_first_frame(site):
    with running(site, FixedClassifier()):
        site.send([site.upload(kind, animation(kind), f"image/{kind.lower()}") for kind in ("GIF", "WEBP", "PNG")])
        site.wait_answered(3)
    assert {verdict.upload_id: verdict.image.frames for verdict in site.verdicts()} == {"GIF": 3}
    assert {name: letter.error for name, letter in site.letters().items()} == dict.fromkeys(
        ("WEBP", "PNG"), "AnimatedImage"
    )


def test_an_object_that_is_gone_from_s3(embedded_broker, make_site, s3_moto):
    site = make_site(embedded_broker)
    blobs = BlobSettings(store=f"s3://{s3_moto.name}/pictures", s3_access_key="test", s3_secret_key="testsecret")
    site.settings = site.settings.model_copy(update={"blobs": blobs})
    s3 = s3_moto.client()
    s3.put_object(Bucket=s3_moto.name, Key="pictures/there.png", Body=PNG)
    there = site.claim(PNG, uri=f"s3://{s3_moto.name}/pictures/there.png")
    gone = site.claim(PNG, uri=f"s3://{s3_moto.name}/pictures/gone.png")
    with running(site, FixedClassifier()):
        site.send([site.upload("there", there), site.upload("gone", gone)])
        site.wait_answered(2)
    s3.close()
    assert [verdict.upload_id for verdict in site.verdicts()] == ["there"]
    letter = site.letters()["gone"]
    assert letter.error == "BlobNotFound"
    assert "gone.png" in letter.where


def test_one_picture_the_model_fails_on_costs_one_dead_letter(site):
    def bright(crops):
        return bool(crops.mean() > 250)

    with running(site, FixedClassifier(failing=bright)):
        site.send([site.upload(f"up-{level}", shade(level)) for level in range(256) if level < 200 or level == 255])
        site.wait_answered(201)
    assert len(site.verdicts()) == 200
    [letter] = site.letters().values()
    assert letter.record.key == b"up-255"
    assert (letter.error, letter.stage) == ("InferenceFailed", "infer")
    assert letter.attempts >= 2
    assert letter.model_digest == "0" * 64


class Buggy(FixedClassifier):
    """Has a bug that one shade of grey brings out."""

    def prepare(self, picture):
        if picture.pixels[0, 0, 0] == 13:
            raise ZeroDivisionError("thirteen")
        return super().prepare(picture)


def test_a_bug_is_a_dead_letter_that_names_it(site):
    with running(site, Buggy()):
        site.send([site.upload(f"up-{level}", shade(level)) for level in (12, 13, 14)])
        site.wait_answered(3)
    letter = site.letters()["up-13"]
    assert (letter.error, letter.stage) == ("ProcessingFailed", "decode")
    assert "ZeroDivisionError: thirteen" in letter.what
    assert "bug" in letter.remedy


def test_a_bad_deploy_opens_the_breaker_and_the_topic_keeps_its_uploads(embedded_broker, make_site):
    site = make_site(embedded_broker, breaker=BreakerSettings(consecutive=30, share=1.0, window=1000))
    site.send([site.upload(f"up-{number}", shade(1)) for number in range(100)])
    broken = FixedClassifier(failing=lambda crops: bool(crops.any()))
    with pytest.raises(BreakerOpen, match="30 records in a row"), running(site, broken) as run:
        run.join()
    dead = len(site.letters())
    assert dead < 30
    with running(site, FixedClassifier()):
        site.wait_answered(100)
    assert len(site.verdicts()) == 100 - dead
    assert len(site.letters()) == dead


def test_a_picture_seen_before_is_answered_from_the_cache(embedded_broker, make_site, redis_server, eventually):
    site = make_site(embedded_broker, redis_url=redis_server.url)
    model = FixedClassifier()
    with running(site, model) as run:
        batches = len(model.batches)
        site.send([site.upload("first", PNG)])
        site.wait_answered(1)
        eventually(lambda: _stored(site) == 1)
        site.send([site.upload(f"again-{number}", PNG) for number in range(5)])
        site.send([site.upload("as-a-claim", site.claim(PNG)), site.upload("lying", PNG, "image/jpeg")])
        site.wait_answered(8)
        assert run.count("cache_lookups_total", {"result": "hit"}) == 7
    assert len(model.batches) == batches + 1
    verdicts = {verdict.upload_id: verdict for verdict in site.verdicts()}
    assert len(verdicts) == 7
    assert len(site.read("embeddings")) == 7
    first, again = verdicts["first"], verdicts["again-0"]
    assert (again.p_ai, again.verdict, again.image) == (first.p_ai, first.verdict, first.image)
    assert [piece.kind for piece in again.evidence] == ["classifier", "crop", "cache"]
    assert site.letters()["lying"].error == "MediaTypeMismatch"
    other = FixedClassifier(digest="1" * 64)
    with running(site, other):
        site.send([site.upload("for-another-model", PNG)])
        site.wait_answered(9)
    assert {verdict.upload_id: verdict for verdict in site.verdicts()}["for-another-model"].model.digest == "1" * 64


def _stored(site) -> int:
    with redis.Redis.from_url(site.settings.redis.url.get_secret_value()) as client:
        return client.dbsize()


def test_without_redis_only_the_cache_is_lost(embedded_broker, make_site, redis_server):
    site = make_site(embedded_broker, redis_url=redis_server.url)
    with running(site, FixedClassifier()) as run:
        site.send([site.upload("before", PNG)])
        site.wait_answered(1)
        redis_server.kill()
        site.send([site.upload(f"while-{number}", PNG) for number in range(20)])
        site.wait_answered(21)
        assert run.count("cache_lookups_total", {"result": "error"}) >= 1
    assert len(site.verdicts()) == 21


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_the_worker_waits_for_a_broker_that_is_away(broker, make_site, delivery):
    site = make_site(broker, delivery=delivery)
    with running(site, FixedClassifier()):
        site.send([site.upload(f"before-{number}", shade(number)) for number in range(20)])
        site.wait_answered(20)
        broker.down()
        try:
            for number in range(20):
                site.producer.send(site.upload(f"while-{number}", shade(number)))
            assert site.producer.flush(0.5) > 0
        finally:
            broker.up()
        assert site.producer.flush(60) == 0
        site.wait_answered(40)
    assert len({verdict.upload_id for verdict in site.verdicts()}) == 40


def test_backfill_is_judged_and_its_dead_letters_go_to_its_own_topic(site):
    topic = site.topics["uploads.backfill"]
    with running(site, FixedClassifier()):
        site.send([site.upload("old", PNG, topic=topic), site.upload("broken", b"", topic=topic)])
        site.wait_answered(2)
    assert [verdict.upload_id for verdict in site.verdicts()] == ["old"]
    assert list(site.letters("uploads.backfill.dlq")) == ["broken"]
