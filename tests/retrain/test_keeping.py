from pathlib import Path

from retrain.keeping import Keeper
from retrain.ledger import Ledger
from retrain.pictures import Pictures
from stream.clock import SystemClock
from stream.events import Position
from tests.retrain import world
from tests.retrain.world import START, World, pictures


def test_a_labelled_picture_outlives_its_upload(broker, tmp_path: Path) -> None:
    site = World(broker, tmp_path)
    made = {f"u{number}": data for number, data in enumerate(pictures(4, "real"))}
    site.upload({name: data if name == "u0" else site.claim(data) for name, data in made.items()})
    ledger = Ledger.open(tmp_path / "ledger.db", retention_s=1e9)
    gone = Position(topic=site.topics["uploads"], partition=0, offset=999)
    ledger.add(
        [*(world.verdict(name, place=site.where[name]) for name in made), world.verdict("gone", place=gone)],
        [world.label(name) for name in ("u0", "u1", "gone")],
    )
    keeper = Keeper(site.settings, site.store, ledger, SystemClock())
    assert keeper.keep(before=START.timestamp()) == 0
    assert keeper.keep(before=START.timestamp() + 1) == 3
    assert keeper.keep(before=START.timestamp() + 1) == 0
    for blob in (site.blobs / "uploads").iterdir():
        blob.unlink()
    cases = {case.upload_id: case for case in ledger.labelled()}
    kept = {name: case.kept for name, case in cases.items() if case.kept is not None}
    assert set(kept) == {"u0", "u1"}
    reader = Pictures(site.settings.kafka, site.store, limit=1 << 20)
    found = {one.upload_id: one.data for one in reader.find(dict.fromkeys(cases), kept)}
    assert found == {name: made[name] for name in ("u0", "u1")}
    assert reader.fates == {"unplaced": 1}
    ledger.forget(START.timestamp() + 2e9)
    assert not ledger.unkept(before=1e300, most=10)
    ledger.close()
