import json

from compose.cli import main
from tests.models.dataset.made import encoded, files, image
from tests.models.evaluation.collections import zipped


def test_pictures_are_checked_listed_and_verified(tmp_path, capsys):
    path, listed = zipped(tmp_path / "data.zip", files()), tmp_path / "list.gz"
    command = ["models", "data", str(path), "--crop", "0", "--json"]
    assert main([*command, "--manifest", str(listed)]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["ok"]
    assert (found["kept"], found["manifest"]["pictures"]) == (48, 48)
    assert "48 of 48 pictures kept" in told.err
    assert main([*command, "--parent", str(listed)]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["parent"] == found["digest"]
    content = files()
    del content["real/one/00.jpg"]
    zipped(path, content)
    assert main(["models", "data", str(path), "--verify", str(listed), "--json"]) == 1
    verified = json.loads(capsys.readouterr().out)
    assert verified["missing"] == ["data.zip: real/one/00.jpg"]
    assert verified["digest"] == found["digest"]


def test_a_leak_ends_with_one_and_says_what_tells_and_the_list_is_written_all_the_same(tmp_path, capsys):
    made = {
        path: encoded(image(n), "PNG") if "fake" in path else data for n, (path, data) in enumerate(files().items())
    }
    path, listed = zipped(tmp_path / "data.zip", made), tmp_path / "list.gz"
    assert main(["models", "data", str(path), "--crop", "0", "--json", "--manifest", str(listed)]) == 1
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert not found["ok"]
    assert "format tells most" in found["refusals"][0]["what"]
    assert "refused:" in told.err
    assert listed.exists()


def test_bad_input_is_refused_and_nothing_is_written(tmp_path):
    listed = tmp_path / "list.gz"
    for content in ({}, {"cats/1.jpg": b"x"}, {"real/a/1.jpg": b"x"}):
        path = zipped(tmp_path / "data.zip", content)
        assert main(["models", "data", str(path), "--manifest", str(listed)]) == 2
    assert main(["models", "data", str(tmp_path / "missing.zip"), "--manifest", str(listed)]) == 2
    assert main(["models", "data", str(path), "--parent", str(path)]) == 2
    assert not listed.exists()
