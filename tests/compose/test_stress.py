import io
import json
from random import Random

import pytest
from PIL import Image

from compose.cli import main
from compose.prepared import PreparedPictures
from producers.traffic.supply import open_pictures
from stream.errors import ConfigurationError
from stream.settings import BlobSettings


def stress(folder, *more):
    return main(["stress", "--images", str(folder), "--size", "96", "--json", "-", *more])


@pytest.mark.usefixtures("small_bundle", "private_tmp")
class TestOnTheEmbeddedBroker:
    def test_it_holds(self, picture_folder, private_tmp, capsys):
        code = stress(picture_folder, "--events", "300", "--min-images-per-s", "1", "--max-p99-ms", "60000")
        found = json.loads(capsys.readouterr().out)
        assert code == 0
        assert found["ok"] is True
        assert found["breaches"] == []
        assert (found["uploads"], found["verdicts"], found["lost"], found["duplicated"]) == (300, 300, 0, 0)
        assert (found["kills"], found["seed"]) == (0, 0)
        assert 0 < found["memory_mib"]["start"] <= found["memory_mib"]["peak"]
        assert found["sending"]["repeats"] == {"fresh": 300}
        assert not list(private_tmp.iterdir())

    def test_an_impossible_limit_is_a_breach(self, picture_folder, capsys):
        code = stress(
            picture_folder, "--events", "30", "--rate", "60", "--max-p99-ms", "0.001", "--min-images-per-s", "1e9"
        )
        found = json.loads(capsys.readouterr().out)
        assert code == 1
        assert found["ok"] is False
        assert len(found["breaches"]) == 2
        assert "over the limit of 0.001 ms" in found["breaches"][0]
        assert "images/s, under the limit" in found["breaches"][1]

    def test_a_killed_worker_loses_nothing(self, picture_folder, capsys):
        stress(picture_folder, "--events", "150", "--rate", "100", "--kills", "1")
        found = json.loads(capsys.readouterr().out)
        assert found["lost"] == 0
        assert found["uploads"] == 150
        assert found["worker"]["restarts"] == 1
        assert "does not isolate transactions" in found["notes"][0]


@pytest.mark.kafka
@pytest.mark.usefixtures("small_bundle", "private_tmp")
def test_killed_workers_lose_and_repeat_nothing_on_kafka(picture_folder, kafka_node, capsys):
    code = stress(picture_folder, "--broker", kafka_node.bootstrap, "--events", "300", "--rate", "100", "--kills", "2")
    found = json.loads(capsys.readouterr().out)
    assert (found["verdicts"], found["lost"], found["duplicated"]) == (300, 0, 0)
    assert found["worker"]["restarts"] == 2
    assert code == 0


class TestPreparedPictures:
    @pytest.fixture
    def prepared(self, picture_folder):
        with open_pictures(picture_folder, BlobSettings()) as supply:
            return PreparedPictures(supply, size=128, count=4, seed=1)

    def test_every_shot_has_bytes_of_its_own_and_the_same_pixels(self, prepared):
        random = Random(0)
        subject = prepared.subject("ai_generated", None, random)
        shots = [prepared.shoot(subject, "clean", random) for _ in range(3)]
        assert len(set(shots)) == 3
        images = [Image.open(io.BytesIO(shot)) for shot in shots]
        assert len({image.tobytes() for image in images}) == 1
        assert images[0].size == (128, 128)

    def test_labels_are_kept(self, prepared):
        for label in ("authentic", "ai_generated"):
            assert prepared.subject(label, None, Random(0)).label == label
        assert prepared.mean_bytes > 100
        assert "nearest" in prepared.families()

    def test_larger_pictures_are_cropped(self, picture_folder):
        with open_pictures(picture_folder, BlobSettings()) as supply:
            prepared = PreparedPictures(supply, size=40, count=2, seed=1)
        shot = prepared.shoot(prepared.subject("authentic", None, Random(0)), "clean", Random(0))
        assert Image.open(io.BytesIO(shot)).size == (40, 40)

    def test_a_supply_of_photographs_only(self, tmp_path, picture_folder):
        only = tmp_path / "only" / "real" / "camera"
        only.mkdir(parents=True)
        (only / "0.jpg").write_bytes((picture_folder / "real" / "camera" / "0.jpg").read_bytes())
        with (
            open_pictures(tmp_path / "only", BlobSettings()) as supply,
            pytest.raises(ConfigurationError, match="no machine-made"),
        ):
            PreparedPictures(supply, size=40, count=2, seed=1)
