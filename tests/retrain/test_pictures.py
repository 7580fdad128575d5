import threading
from pathlib import Path

import pytest

from retrain.pictures import Pictures
from stream.errors import BlobUnavailable
from stream.events import Position
from tests.retrain.world import World, pictures


@pytest.fixture
def world(any_broker, tmp_path: Path) -> World:
    return World(any_broker, tmp_path)


def reader(world: World, *, limit: int = 1 << 20) -> Pictures:
    return Pictures(world.settings.kafka, world.store, limit=limit)


def test_pictures_are_found_again_inline_and_by_claim_check(world: World) -> None:
    made = {f"u{number}": data for number, data in enumerate(pictures(60, "real"))}
    sent = {name: data if number % 2 else world.claim(data) for number, (name, data) in enumerate(made.items())}
    world.upload(sent)
    wanted = {f"u{number}": world.where[f"u{number}"] for number in (0, 1, 7, 30, 59)}
    found = {one.upload_id: one.data for one in reader(world).find(wanted)}
    assert found == {name: made[name] for name in wanted}


def test_long_gaps_are_jumped(world: World) -> None:
    data = pictures(1, "real")[0]
    world.upload({f"u{number}": data for number in range(1500)})
    first: dict[int, str] = {}
    last: dict[int, str] = {}
    for name, at in world.where.items():
        first.setdefault(at.partition, name)
        last[at.partition] = name
    wanted = {name: world.where[name] for name in {*first.values(), *last.values()}}
    again = reader(world)
    assert {one.upload_id for one in again.find(wanted)} == set(wanted)
    assert not again.fates


def test_what_is_gone_or_must_not_be_opened_is_counted(world: World) -> None:
    first, second, large = pictures(3, "real")
    erased, changed = world.claim(first), world.claim(second)
    Path(erased.uri.removeprefix("file://")).unlink()
    world.upload(
        {
            "erased": erased,
            "changed": changed.model_copy(update={"sha256": "0" * 64}),
            "large": large * 9,
            "whole": first,
        }
    )
    topic = world.topics["uploads"]
    wanted = {
        **world.where,
        "another": world.where["whole"].model_copy(update={"offset": 10_000}),
        "nowhere": Position(topic=topic, partition=99, offset=0),
        "no topic": Position(topic="no such topic", partition=0, offset=0),
        "not said": None,
    }
    again = reader(world, limit=len(large))
    assert [one.upload_id for one in again.find(wanted)] == ["whole"]
    assert again.fates == {"gone": 4, "refused": 2, "unplaced": 1}


def test_another_upload_in_the_place_is_not_taken_for_it(world: World) -> None:
    world.upload({"u1": pictures(1, "real")[0]})
    again = reader(world)
    assert not list(again.find({"u2": world.where["u1"]}))
    assert again.fates == {"gone": 1}


def test_a_store_that_stays_away_is_an_error_and_no_fate(broker, tmp_path: Path) -> None:
    class Away:
        def read(self, uri: str, *, limit: int) -> bytes:
            raise BlobUnavailable("the store is switched off", where=uri)

        def write(self, name: str, data: bytes, *, media_type: str) -> str:
            raise NotImplementedError

    world = World(broker, tmp_path)
    world.upload({"u1": world.claim(pictures(1, "real")[0])})
    stopping = threading.Event()
    stopping.set()
    again = Pictures(world.settings.kafka, Away(), limit=1 << 20, stopping=stopping)
    with pytest.raises(BlobUnavailable):
        list(again.find(world.where))
    assert not again.fates
