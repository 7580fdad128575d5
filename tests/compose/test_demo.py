import json
import os
import pty
import signal
import threading
import time
from pathlib import Path

import pytest

from compose.cli import main
from compose.demo import DemoPlan, run
from compose.embedded.processes import ChildProcess, veristream_command
from stream.settings import load

KEYS = {
    "uploads", "verdicts", "lost", "duplicated", "dlq", "accuracy", "fpr", "images_per_s", "latency_ms", "provider",
    "bundle", "coverage", "accuracy_ci95", "fpr_ci95", "by_tier", "by_family", "memory_mib", "seed",
}  # fmt: skip


def headless(folder, *more):
    return main(["demo", "--headless", "--images", str(folder), "--rate", "60", *more])


@pytest.mark.usefixtures("small_bundle")
class TestHeadless:
    def test_every_upload_gets_its_verdict(self, picture_folder, private_tmp, tmp_path, capsys):
        report, picture = tmp_path / "report.json", tmp_path / "dashboard.svg"
        code = headless(picture_folder, "--events", "120", "--json", str(report), "--snapshot", str(picture))
        found = json.loads(report.read_text())
        assert code == 0
        assert found.keys() >= KEYS
        assert (found["uploads"], found["verdicts"]) == (120, 120)
        assert (found["lost"], found["duplicated"], found["dlq"]) == (0, 0, 0)
        assert found["accuracy"] == 1.0
        assert found["fpr"] == 0.0
        assert found["provider"] == "CPUExecutionProvider"
        assert found["bundle"]["name"] == "tiny"
        assert set(found["by_family"]) == {"camera", "nearest"}
        assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p95"] <= found["latency_ms"]["p99"]
        assert found["images_per_s"] > 0
        assert "VERISTREAM" in picture.read_text()
        assert "120" in capsys.readouterr().out
        assert not list(private_tmp.iterdir())

    def test_json_on_stdout_is_one_object(self, picture_folder, private_tmp, capsys):
        code = headless(picture_folder, "--events", "20", "--json", "-", "--delivery", "at_least_once", "--seed", "3")
        found = json.loads(capsys.readouterr().out)
        assert code == 0
        assert (found["delivery"], found["seed"], found["uploads"]) == ("at_least_once", 3, 20)
        assert not list(private_tmp.iterdir())

    def test_a_machine_that_cannot_keep_up_plays_more_slowly(self, picture_folder, private_tmp, monkeypatch):
        monkeypatch.setattr("compose.demo._MOST_OUTSTANDING", 8)
        plan = DemoPlan("embedded", "calm", rate=5000.0, events=500, images=picture_folder, seed=0)
        seen = []
        found = run(plan, load(), on_step=lambda _: None, on_snapshot=lambda shown: seen.append(shown.outstanding))
        assert max(seen) <= 8
        assert (found["verdicts"], found["lost"]) == (500, 0)
        assert not list(private_tmp.iterdir())

    @pytest.mark.kafka
    def test_on_a_node_from_kafka_home(self, picture_folder, private_tmp, capsys):
        if not os.environ.get("KAFKA_HOME"):
            pytest.skip("KAFKA_HOME names no Apache Kafka 4 distribution")
        code = headless(picture_folder, "--events", "100", "--json", "-", "--broker", "kafka")
        found = json.loads(capsys.readouterr().out)
        assert code == 0
        assert (found["verdicts"], found["lost"], found["duplicated"]) == (100, 0, 0)
        assert not list(private_tmp.iterdir())

    @pytest.mark.kafka
    def test_on_a_broker_of_somebodys_own(self, picture_folder, private_tmp, kafka_node, capsys, monkeypatch):
        # A busy broker deletes its topics later than a person waits for.
        monkeypatch.setattr("compose.services._DELETE_S", 60.0)
        before = set(kafka_node._client().list_topics(timeout=60).topics)
        code = headless(picture_folder, "--events", "50", "--json", "-", "--broker", kafka_node.bootstrap)
        found = json.loads(capsys.readouterr().out)
        assert code == 0
        assert (found["verdicts"], found["lost"], found["duplicated"]) == (50, 0, 0)
        left = {name for name in kafka_node._client().list_topics(timeout=60).topics if not name.startswith("__")}
        assert left <= before
        assert not list(private_tmp.iterdir())


class TestRefused:
    def test_a_dashboard_without_a_terminal(self, capsys):
        assert main(["demo"]) == 2
        assert "--headless" in capsys.readouterr().err

    def test_a_broker_that_is_none(self, picture_folder, private_tmp, capsys):
        assert headless(picture_folder, "--broker", "redpanda") == 2
        assert "there is no broker 'redpanda'" in capsys.readouterr().err
        assert not list(private_tmp.iterdir())

    def test_a_worker_that_does_not_come_up(self, picture_folder, private_tmp, monkeypatch, capsys):
        monkeypatch.setenv("VERISTREAM_WORKER__BUNDLE", "/nowhere/bundle.tar")
        assert headless(picture_folder, "--events", "5") == 1
        said = capsys.readouterr().err
        assert "before it was ready" in said
        assert "/nowhere/bundle.tar" in said
        assert not list(private_tmp.iterdir())

    @pytest.mark.usefixtures("small_bundle")
    def test_a_report_that_cannot_be_written(self, picture_folder, private_tmp, capsys):
        assert headless(picture_folder, "--events", "5", "--json", "/nowhere/report.json") == 2
        assert "no file can be written there" in capsys.readouterr().err


class Terminal:
    """The demo in a terminal of its own."""

    def __init__(self, *arguments):
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            command = veristream_command("demo", *arguments)
            os.execv(command[0], command)
        self._said = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self):
        return self._said.decode(errors="replace")

    def press_ctrl_c(self):
        os.write(self._fd, b"\x03")

    def wait(self, deadline_s):
        """Seconds until the end, and the exit code."""
        begun = time.monotonic()
        while time.monotonic() - begun < deadline_s:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._reader.join(5)
                os.close(self._fd)
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        pytest.fail(f"still running after {deadline_s} s")

    def _read(self):
        while True:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                return
            if not data:
                return
            self._said.extend(data)


def processes_mentioning(text):
    """Process ids with ``text`` in their environment or command line (redis-server overwrites its environment)."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found - {os.getpid()}


@pytest.mark.usefixtures("small_bundle")
class TestCtrlC:
    def test_it_leaves_no_process_and_no_file(self, picture_folder, private_tmp, eventually):
        terminal = Terminal("--images", str(picture_folder), "--rate", "40")
        eventually(lambda: "authentic" in terminal.said)
        assert len(processes_mentioning(str(private_tmp))) >= 3
        terminal.press_ctrl_c()
        assert terminal.wait(60) == 0
        assert "lost 0, again 0" in terminal.said
        assert not processes_mentioning(str(private_tmp))
        assert not list(private_tmp.iterdir())

    def test_while_it_is_still_starting(self, picture_folder, private_tmp, eventually):
        terminal = Terminal("--images", str(picture_folder))
        eventually(lambda: list(private_tmp.iterdir()))
        terminal.press_ctrl_c()
        assert terminal.wait(60) == 130
        assert not processes_mentioning(str(private_tmp))
        assert not list(private_tmp.iterdir())

    def test_sigterm_to_a_headless_one(self, picture_folder, private_tmp, eventually):
        command = veristream_command("demo", "--headless", "--images", str(picture_folder), "--events", "100000")
        with ChildProcess("demo", command, private_tmp.parent) as process:
            process.start()
            eventually(lambda: len(processes_mentioning(str(private_tmp))) >= 3)
            assert process.terminate(60) == 130
        assert not processes_mentioning(str(private_tmp))
        assert not list(private_tmp.iterdir())
