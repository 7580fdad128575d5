"""Child processes: ready, stopped, killed, and never left behind."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from compose.embedded.processes import ChildProcess, veristream_command
from stream.errors import BrokerUnavailable, VeristreamError


@pytest.fixture
def child(tmp_path):
    """``child(program, **options)``: a Python program as a child that is gone after the test."""
    made = []

    def make(program, **options):
        command = [sys.executable, "-c", textwrap.dedent(program)]
        process = ChildProcess(f"child{len(made)}", command, tmp_path / "logs", **options)
        made.append(process)
        return process

    yield make
    for process in made:
        process.kill()


def _runs(pid: int) -> bool:
    """Whether this process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


SLEEPER = "import time; print('ready on 7', flush=True); time.sleep(600)"


def test_waits_for_the_line_that_says_ready(child):
    process = child(SLEEPER)
    process.start()
    assert process.wait_for_line(r"ready on (\d+)", 60)[1] == "7"
    assert process.alive
    assert process.exit_code is None
    assert process.terminate() == -signal.SIGTERM
    assert not process.alive


def test_a_second_start_while_it_runs_changes_nothing(child):
    process = child(SLEEPER)
    process.start()
    before = process.pid
    process.start()
    assert process.pid == before


def test_started_again_only_new_lines_count(child, tmp_path):
    counter = tmp_path / "runs"
    process = child(
        """
        import os, time
        with open(os.environ["COUNTER"], "a") as file: file.write("x")
        print("run", os.stat(os.environ["COUNTER"]).st_size, flush=True)
        time.sleep(600)
        """,
        env={"COUNTER": str(counter)},
    )
    process.start()
    assert process.wait_for_line(r"run (\d)", 60)[1] == "1"
    process.kill()
    assert process.exit_code == -signal.SIGKILL
    process.start()
    assert process.wait_for_line(r"run (\d)", 60)[1] == "2"


def test_one_that_ends_before_it_is_ready_shows_its_last_words(child):
    process = child("import sys; sys.exit('broken setting')", failure=BrokerUnavailable)
    process.start()
    with pytest.raises(BrokerUnavailable, match="exit status 1") as caught:
        process.wait_for_line("ready", 60)
    assert "broken setting" in caught.value.remedy


def test_one_that_is_never_ready_is_killed(child):
    process = child("import time; print('not yet', flush=True); time.sleep(600)")
    process.start()
    with pytest.raises(VeristreamError, match=r"not ready within 0\.3 s"):
        process.wait_for_line("ready", 0.3)
    assert not process.alive


def test_an_interrupted_wait_leaves_no_child(child):
    process = child(SLEEPER)
    process.start()

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.wait_until(interrupted, 60)
    assert process.exit_code == -signal.SIGKILL


def test_waiting_for_the_end(child):
    process = child("print('done'); raise SystemExit(5)")
    with pytest.raises(VeristreamError, match="not started"):
        process.wait(1)
    assert process.pid == 0
    process.start()
    assert process.wait(60) == 5
    assert process.tail() == "done"
    slow = child(SLEEPER)
    slow.start()
    with pytest.raises(VeristreamError, match="still runs"):
        slow.wait(0.1)


def test_one_that_ignores_sigterm_is_killed_with_what_it_started(child, eventually):
    process = child(
        """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("grandchild", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
        time.sleep(600)
        """
    )
    process.start()
    grandchild = int(process.wait_for_line(r"grandchild (\d+)", 60)[1])
    assert process.terminate(0.2) == -signal.SIGKILL
    eventually(lambda: not _runs(grandchild))


def test_a_paused_one_can_still_be_terminated(child):
    with child(SLEEPER) as process:
        process.start()
        process.wait_for_line("ready", 60)
        process.pause()
        assert process.terminate(60) == -signal.SIGTERM


def test_it_leads_a_group_of_its_own_and_reads_no_stdin(child):
    process = child("import os, sys; print('group', os.getpgid(0), repr(sys.stdin.read()), flush=True)")
    process.start()
    said = process.wait_for_line(r"group (\d+) (.*)", 60)
    assert int(said[1]) == process.pid != os.getpgid(0)
    assert said[2] == "''"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills orphans by itself")
def test_no_child_outlives_a_killed_parent_even_when_another_thread_started_it(tmp_path, eventually):
    program = textwrap.dedent(
        """
        import sys, threading, time
        from pathlib import Path
        from compose.embedded.processes import ChildProcess
        sleeper = "import time; print('up', flush=True); time.sleep(600)"
        child = ChildProcess("c", [sys.executable, "-c", sleeper], Path(sys.argv[1]))
        starter = threading.Thread(target=child.start)
        starter.start()
        starter.join()
        child.wait_for_line("up", 60)
        print(child.pid, flush=True)
        time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        assert _runs(orphan)
        parent.kill()
    eventually(lambda: not _runs(orphan))


def test_a_program_that_is_not_there_is_an_error(tmp_path):
    process = ChildProcess("gone", [str(tmp_path / "gone")], tmp_path)
    process.start()
    with pytest.raises(VeristreamError, match="exit status") as caught:
        process.wait_for_line("ready", 60)
    assert "gone: No such file" in caught.value.remedy


def test_the_command_line_runs_under_this_interpreter(tmp_path):
    process = ChildProcess("veristream", veristream_command("--help"), tmp_path)
    process.start()
    assert process.wait(60) == 0
    assert "Usage: veristream" in process.stdout_path.read_text()
