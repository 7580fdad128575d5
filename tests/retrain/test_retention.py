import json
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.cli import main
from retrain.jobs.folder import LABELS, MANIFEST, JobFolder
from retrain.manifest import DatasetManifest, Picture
from retrain.metrics import RetrainMetrics
from retrain.retention import Sweeper, Swept, sweep
from retrain.selection import Chosen, Selection
from stream.blobs import open_store
from stream.doubles import ManualClock, MemoryBlobs
from stream.errors import ConfigurationError
from stream.events import ImageClaim
from stream.settings import BlobSettings
from tests.retrain.world import START

DAY = 86_400.0
NOW = START.timestamp()


def digest(number: int) -> str:
    return f"{number:064x}"


def copied(store, *numbers: int) -> None:
    for number in numbers:
        store.write(f"labelled/{digest(number)}", b"picture", media_type="image/png")


def manifest(job_id: str, *numbers: int) -> bytes:
    pictures = tuple(
        Picture(
            upload_id=f"u{number}", upload_at=None, path=f"real/a/{number}.png", sha256=digest(number),
            label="authentic", part="learn", weight=1.0, origin="moderator", label_ids=(),
        )
        for number in numbers
    )  # fmt: skip
    return DatasetManifest(
        job_id=job_id, kind="adapt", created=START, parent="a" * 64, seed=0, held_out=0.3, threads=1,
        pictures=pictures, counts={}, files={}, base={}, libraries={},
    ).to_bytes()  # fmt: skip


def learned(store, job_id: str, *numbers: int) -> None:
    """A job that learned from these."""
    folder = JobFolder(store, job_id)
    folder.write(MANIFEST, manifest(job_id, *numbers))
    for name in ("pictures.zip", "slice.zip", "challenger.tar", "outcome.json"):
        folder.write(name, b"12345")


def names(store, folder: str) -> set[str]:
    return {one.name for one in store.stored(folder)}


def test_what_no_young_job_names_goes_when_it_is_old() -> None:
    clock = ManualClock(NOW)
    store = MemoryBlobs(clock)
    copied(store, 1, 2, 3)
    learned(store, "old", 1, 2)
    clock.advance(300 * DAY)
    learned(store, "young", 2)
    copied(store, 4)
    clock.advance(101 * DAY)
    expected = Swept(copies=2, zips=2, bytes=2 * 7 + 2 * 5, kept=2)
    everything = names(store, "labelled") | names(store, "jobs")
    assert sweep(store, days=400, now=clock.now(), dry_run=True) == expected
    assert names(store, "labelled") | names(store, "jobs") == everything
    assert sweep(store, days=400, now=clock.now()) == expected
    assert names(store, "labelled") == {f"labelled/{digest(number)}" for number in (2, 4)}
    assert everything - names(store, "jobs") - names(store, "labelled") == {
        "jobs/old/pictures.zip", "jobs/old/slice.zip", f"labelled/{digest(1)}", f"labelled/{digest(3)}",
    }  # fmt: skip
    assert sweep(store, days=400, now=clock.now()) == Swept(0, 0, 0, 2)


def test_what_a_job_has_chosen_and_not_yet_learned_from_stays() -> None:
    clock = ManualClock(NOW)
    store = MemoryBlobs(clock)
    copied(store, 1, 2)
    clock.advance(10 * DAY)
    claim = ImageClaim(uri=store.uri(f"labelled/{digest(1)}"), sha256=digest(1), media_type="image/png", size=7)
    chosen = Chosen(
        upload_id="u", tenant="acme", upload_at=None, kept=claim, label="authentic", weight=1, origin="moderator",
        owner=None, label_ids=(),
    )  # fmt: skip
    JobFolder(store, "open").write(
        LABELS, Selection(chosen=(chosen,), counts={}, trust={}).model_dump_json().encode()
    )  # fmt: skip
    sweep(store, days=5, now=clock.now())
    assert names(store, "labelled") == {f"labelled/{digest(1)}"}


def test_nothing_goes_where_all_is_kept_for_ever_or_a_young_manifest_cannot_be_read() -> None:
    clock = ManualClock(NOW)
    store = MemoryBlobs(clock)
    copied(store, 1)
    learned(store, "job", 1)
    clock.advance(10_000 * DAY)
    assert sweep(store, days=0, now=clock.now()) == Swept(0, 0, 0, 1)
    JobFolder(store, "broken").write(MANIFEST, b"{}")
    with pytest.raises(ConfigurationError, match="no manifest of a job"):
        sweep(store, days=400, now=clock.now())
    assert names(store, "labelled")
    assert "jobs/job/pictures.zip" in names(store, "jobs")


@given(
    jobs=st.lists(st.tuples(st.floats(0, 800), st.sets(st.integers(0, 9))), max_size=5),
    copies=st.dictionaries(st.integers(0, 9), st.floats(0, 800)),
    days=st.floats(0.5, 500),
)
def test_no_copy_goes_that_is_young_or_named_by_a_young_job(
    jobs: list[tuple[float, set[int]]], copies: dict[int, float], days: float
) -> None:
    clock = ManualClock(NOW)
    store = MemoryBlobs(clock)
    events = [(at, "job", numbers) for at, numbers in jobs] + [(at, "copy", {one}) for one, at in copies.items()]
    for number, (at, what, numbers) in enumerate(sorted(events, key=lambda event: event[0])):
        clock.advance(NOW + at * DAY - clock.now())
        if what == "job":
            learned(store, f"job{number}", *numbers)
        else:
            copied(store, *numbers)
    now, oldest = NOW + 800 * DAY, NOW + (800 - days) * DAY
    sweep(store, days=days, now=now)
    needed = {one for at, numbers in jobs if NOW + at * DAY > oldest + 1 for one in numbers}
    young = {one for one, at in copies.items() if NOW + at * DAY > oldest + 1}
    kept = {int(name.rpartition("/")[2], 16) for name in names(store, "labelled")}
    assert kept >= (needed & copies.keys()) | young
    surely_old = {one for one, at in copies.items() if NOW + at * DAY < oldest - 1}
    named = {one for at, numbers in jobs if NOW + at * DAY > oldest - 1 for one in numbers}
    assert not kept & (surely_old - named)


@pytest.mark.parametrize("place", ["folder", "moto", pytest.param("server", marks=pytest.mark.s3)])
def test_every_store_is_swept(place: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    settings = BlobSettings(store=f"file://{tmp_path}/store")
    if place != "folder":
        bucket = request.getfixturevalue("s3_moto" if place == "moto" else "s3_server")
        settings = BlobSettings(
            store=f"s3://{bucket.name}/some/prefix", s3_endpoint=bucket.endpoint, s3_access_key=bucket.access_key,
            s3_secret_key=bucket.secret_key,
        )  # fmt: skip
    store = open_store(settings)
    copied(store, 1, 2)
    learned(store, "job", 1)
    now = max(one.modified for one in store.stored("jobs"))
    assert sweep(store, days=400, now=now + 399 * DAY) == Swept(0, 0, 0, 2)
    assert sweep(store, days=400, now=now + 401 * DAY) == Swept(2, 2, 24, 0)
    assert names(store, "labelled") == set()
    assert names(store, "jobs") == {f"jobs/job/{name}" for name in ("manifest.json", "challenger.tar", "outcome.json")}


def test_a_sweeper_counts_what_it_deletes_and_outlives_a_store_that_is_away() -> None:
    clock, metrics = ManualClock(NOW), RetrainMetrics()
    store = MemoryBlobs(clock)
    copied(store, 1, 2)
    clock.advance(401 * DAY)
    sweeper = Sweeper(store, 400, clock, metrics.swept)
    store.away = True
    sweeper.once()
    store.away = False
    sweeper.once()
    assert metrics.registry.get_sample_value("veristream_retrain_pictures_deleted_total", {"kind": "copy"}) == 2
    ended = threading.Event()
    ended.set()
    sweeper.run(ended)


def test_the_command_says_what_would_go_and_deletes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VERISTREAM_BLOBS__STORE", f"file://{tmp_path}/store")
    monkeypatch.setenv("VERISTREAM_RETRAIN__KEEP_DAYS", "30")
    store = open_store(BlobSettings(store=f"file://{tmp_path}/store"))
    copied(store, 1, 2)
    old = (tmp_path / "store" / "labelled" / digest(1)).stat().st_mtime - timedelta(days=31).total_seconds()
    os.utime(tmp_path / "store" / "labelled" / digest(1), (old, old))
    assert main(["retrain", "sweep", "--dry-run", "--json"]) == 0
    expected = {"days": 30.0, "dry_run": True, "copies": 1, "zips": 0, "bytes": 7, "kept": 1}
    assert json.loads(capsys.readouterr().out) == expected
    assert main(["retrain", "sweep"]) == 0
    assert "1 copies of labelled pictures" in capsys.readouterr().out
    assert names(store, "labelled") == {f"labelled/{digest(2)}"}
