"""Evidently's own workspace and its UI, as people use them: by the command line, and over HTTP."""

import json
import urllib.request

import pytest

from compose.cli import main
from compose.embedded.processes import ChildProcess, veristream_command
from stream.settings import BlobSettings, KafkaSettings, Settings
from stream.topics import layout
from tests.drift import alarms

READY_S = 60.0
PROJECT = "Veristream drift"

# Evidently's imports warn of their own dependencies.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def settings(broker, tmp_path, monkeypatch) -> Settings:
    store = (tmp_path / "blobs").as_uri()
    settings = Settings(kafka=KafkaSettings(bootstrap=broker.bootstrap, embedded=True), blobs=BlobSettings(store=store))
    drift = layout(settings.topics)["drift"]
    broker.create_topic(drift.name, drift.partitions)
    monkeypatch.setenv("VERISTREAM_KAFKA__BOOTSTRAP", broker.bootstrap)
    monkeypatch.setenv("VERISTREAM_KAFKA__EMBEDDED", "true")
    monkeypatch.setenv("VERISTREAM_BLOBS__STORE", store)
    return settings


@pytest.fixture
def workspace(tmp_path, capsys):
    """Writes the workspace; returns its folder and what was said."""

    def write():
        folder = tmp_path / "alarms"
        assert main(["drift", "workspace", str(folder), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        return folder, {name: found[name] for name in ("alarms", "added", "gone")}

    return write


def test_alarms_are_added_each_once_and_shown_in_evidentlys_ui(settings, workspace, tmp_path, free_port):
    # Before there is an alarm it may be made as well.
    assert workspace()[1] == {"alarms": 0, "added": 0, "gone": 0}
    for number in range(2):
        alarms.publish(settings, number)
    (tmp_path / "blobs" / "drift" / f"{0:032x}" / "window.npz").unlink()
    folder, found = workspace()
    assert found == {"alarms": 2, "added": 1, "gone": 1}
    assert workspace() == (folder, {"alarms": 2, "added": 0, "gone": 1})

    def ask(path: str):
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/api/{path}", timeout=10) as answer:
            return json.load(answer)

    def answers() -> bool:
        try:
            return bool(ask("projects"))
        except OSError:
            return False

    command = veristream_command("drift", "ui", str(folder), "--port", str(free_port))
    with ChildProcess("ui", command, tmp_path) as ui:
        ui.start()
        ui.wait_until(answers, READY_S)
        (project,) = ask("projects")
        assert project["name"] == PROJECT
        (run,) = ask(f"projects/{project['id']}/snapshots")
        assert run["name"] == f"alarm {'0' * 12}, model {'a' * 12}"
        assert run["timestamp"].startswith("2026-01-01T01:00:00")
        panels = ask(f"v2/dashboards/{project['id']}")["panels"]
        assert [panel["values"][0]["metric_labels"]["column"] for panel in panels] == ["score", "residual"]
        assert "Drift in column 'residual'" in json.dumps(ask(f"projects/{project['id']}/{run['id']}/data"))
        ui.ask_to_stop()
        ui.wait(READY_S)


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_that_is_no_workspace_is_not_served(tmp_path, capsys, made):
    folder = tmp_path / "pictures"
    if made:
        folder.mkdir()
    assert main(["drift", "ui", str(folder)]) == 2
    assert f"veristream drift workspace {folder}" in capsys.readouterr().err.replace("\n", "")
    assert folder.exists() == made
    assert not made or not list(folder.iterdir())
