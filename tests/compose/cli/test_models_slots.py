import json

import pytest

from compose.cli import main
from stream import messages
from stream.events import SlotChange
from stream.settings import KafkaSettings, names
from stream.snapshot import read_all
from tests.models.tiny import tiny_bundle, tiny_graph

FIRST, SECOND = tiny_bundle(), tiny_bundle(tiny_graph(scale=1 / 128))


@pytest.fixture(autouse=True)
def _settings(monkeypatch, broker, tmp_path):
    for name in names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VERISTREAM_KAFKA__BOOTSTRAP", broker.bootstrap)
    monkeypatch.setenv("VERISTREAM_BLOBS__STORE", f"file://{tmp_path}/blobs")
    monkeypatch.setenv("COLUMNS", "240")
    broker.create_topic("models", 1)


@pytest.fixture
def run(capsys):
    def run(*arguments: str) -> dict:
        assert main(["models", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def told(broker):
    def told() -> dict[str, str | None]:
        changes = [
            messages.decode(record, SlotChange)
            for record in read_all(KafkaSettings(bootstrap=broker.bootstrap), ["models"])
        ]
        return {change.slot: change.digest for change in changes}

    return told


def test_a_folder_and_a_tar_are_promoted_and_rolled_back(run, told, tmp_path, capsys):
    FIRST.save(tmp_path / "first")
    (tmp_path / "second.tar").write_bytes(SECOND.pack())
    assert run("promote", str(tmp_path / "first"))["champion"]["digest"] == FIRST.digest
    slots = run("promote", str(tmp_path / "second.tar"), "--reason", "it is [bold]better[/bold]")
    assert (slots["champion"]["digest"], slots["previous"]["digest"]) == (SECOND.digest, FIRST.digest)
    assert told() == {"champion": SECOND.digest, "previous": FIRST.digest}
    assert run("rollback", "--reason", "it is not")["champion"]["digest"] == FIRST.digest
    assert told() == {"champion": FIRST.digest, "previous": None}
    assert run("promote", SECOND.digest)["champion"]["digest"] == SECOND.digest
    assert run("promote", FIRST.digest[:8])["champion"]["digest"] == FIRST.digest
    changes = run("history", "--limit", "4")["changes"]
    assert [change["action"] for change in changes] == ["promote", "promote", "rollback", "promote"]
    assert changes[-1]["reason"] == "it is [bold]better[/bold]"
    assert main(["models", "history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("rollback" in line and FIRST.digest[:12] in line and "it is not" in line for line in lines)
    assert any("it is [bold]better[/bold]" in line for line in lines)


def test_a_person_is_shown_the_slots_and_what_cannot_be_undone(capsys, tmp_path):
    FIRST.save(tmp_path / "first")
    assert main(["models", "history"]) == 0
    assert "No model was ever put" in capsys.readouterr().out
    assert main(["models", "promote", str(tmp_path / "first"), "--reason", "because"]) == 0
    told = capsys.readouterr()
    assert FIRST.digest in told.out
    assert "promote: because" in told.out
    assert "nothing to roll back to" in told.err
    assert main(["models", "rollback"]) == 1
    assert "no previous champion is held" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("f" * 64, 1, "is registered"),
        ("abcdef", 2, "0 models in the history"),
        ("no/such/folder", 2, "neither a bundle's folder"),
    ],
)
def test_what_is_no_model_is_said(capsys, told, name, code, says):
    assert main(["models", "promote", name]) == code
    assert says in capsys.readouterr().err
    assert told() == {}


def test_without_a_store_the_setting_is_named(capsys, monkeypatch):
    monkeypatch.delenv("VERISTREAM_BLOBS__STORE")
    assert main(["models", "history"]) == 2
    assert "VERISTREAM_BLOBS__STORE" in capsys.readouterr().err
