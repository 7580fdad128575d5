from datetime import UTC, datetime

from retrain.manifest import DatasetManifest, Picture
from stream.events import Position


def test_a_manifest_is_named_as_it_always_was() -> None:
    """Challengers name their manifest by digest, so one that was written years ago must keep its name."""
    picture = Picture(
        upload_id="ü1", upload_at=Position(topic="uploads", partition=1, offset=7), path="fake/é.png", sha256="b" * 64,
        label="ai_generated", part="learn", weight=0.5, origin="moderator", label_ids=("l1",),
    )  # fmt: skip
    manifest = DatasetManifest(
        job_id="j1", kind="adapt", created=datetime(2026, 11, 21, 10, tzinfo=UTC), parent="a" * 64, seed=3,
        held_out=0.3, threads=2, pictures=(picture,), counts={"kept": 1, "gone": 2}, files={"learn.zip": "c" * 64},
        base={}, libraries={"python": "3.11"},
    )  # fmt: skip
    assert manifest.digest == "25b2dd4d83f34af625add67cea5ed95b8fb45b03a99747330b5b1adb4991bf3d"
    assert DatasetManifest.from_bytes(manifest.to_bytes(), where="here") == manifest
