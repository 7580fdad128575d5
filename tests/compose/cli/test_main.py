"""The command line's outer edge: what people see, and the exit code that scripts see."""

import importlib
import subprocess
import sys

import pytest
import typer

from compose.cli import COMMANDS, main
from stream.errors import BrokerUnavailable, ConfigurationError


@pytest.fixture
def command(monkeypatch):
    """``command(function)`` makes ``veristream probe`` out of a function; functions as a list make a group."""

    def install(*functions):
        app = typer.Typer(add_completion=False)
        for function in functions:
            app.command()(function)
        module = type(sys)("compose.cli.probe")
        module.app = app
        monkeypatch.setitem(sys.modules, "compose.cli.probe", module)
        monkeypatch.setitem(COMMANDS, "probe", "A probe")

    return install


def _raiser(error):
    def probe():
        raise error

    return probe


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_listed_can_be_asked_for_help(name, capsys):
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"veristream {name}" in shown
    assert "--install-completion" not in shown


@pytest.mark.parametrize("asked", [[], ["--help"], ["-h"]])
def test_help_lists_every_command_and_imports_none(asked, capsys, monkeypatch):
    imported = []
    monkeypatch.setattr(importlib, "import_module", imported.append)
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    assert imported == []


def test_a_command_that_does_not_exist_names_the_nearest(capsys):
    assert main(["wroker"]) == 2
    shown = capsys.readouterr()
    assert "there is no command wroker" in shown.err
    assert "Did you mean worker?" in shown.err
    assert shown.out == ""


def test_a_command_like_nothing_at_all_points_to_the_list(capsys):
    assert main(["zzzzzz"]) == 2
    assert "`veristream --help`" in capsys.readouterr().err


def test_a_flag_that_does_not_exist_names_the_nearest(capsys, command):
    def probe(partitions: int = 1):
        raise AssertionError

    command(probe)
    assert main(["probe", "--partition", "3"]) == 2
    assert "Did you mean --partitions?" in capsys.readouterr().err


def test_what_a_sub_command_misses_points_to_its_own_help(capsys, command):
    def measure(data: str = typer.Option()):
        raise AssertionError

    def other():
        raise AssertionError

    command(measure, other)
    assert main(["probe", "measure"]) == 2
    shown = capsys.readouterr().err
    assert "Missing option '--data'" in shown
    assert "`veristream probe measure --help`" in shown


def test_a_value_that_does_not_fit_names_its_flag(capsys, command):
    def probe(rate: int = 1):
        raise AssertionError

    command(probe)
    assert main(["probe", "--rate", "fast"]) == 2
    shown = capsys.readouterr().err
    assert "--rate" in shown
    assert "veristream probe --help" in shown


def test_an_error_says_what_where_and_what_to_do(capsys, command):
    command(_raiser(BrokerUnavailable("no broker answers", where="kafka:9092", remedy="Start one [or two]")))
    assert main(["probe"]) == 1
    assert capsys.readouterr().err == "error: no broker answers\nwhere: kafka:9092\nto do: Start one [or two]\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigurationError("no such setting"), 2), (KeyboardInterrupt(), 130), (typer.Abort(), 130), (typer.Exit(3), 3)],
)
def test_exit_codes(error, code, command):
    command(_raiser(error))
    assert main(["probe"]) == code


def test_success_is_zero_and_a_returned_number_is_the_code(command):
    def probe():
        return None

    command(probe)
    assert main(["probe"]) == 0

    def refused():
        return 1

    command(refused)
    assert main(["probe"]) == 1


def test_a_bug_keeps_its_traceback(command):
    command(_raiser(ZeroDivisionError("bug")))
    with pytest.raises(ZeroDivisionError):
        main(["probe"])


def test_a_missing_extra_says_how_to_install_it(capsys, command):
    command(_raiser(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")))
    assert main(["probe"]) == 2
    shown = capsys.readouterr().err
    assert "torch.nn is not installed" in shown
    assert "pip install" in shown


def test_a_module_of_our_own_that_is_missing_is_a_bug(command):
    command(_raiser(ModuleNotFoundError("No module named 'stream.gone'", name="stream.gone")))
    with pytest.raises(ModuleNotFoundError):
        main(["probe"])


def test_a_group_named_alone_shows_its_help(capsys, command):
    def ensure():
        raise AssertionError

    def show():
        raise AssertionError

    command(ensure, show)
    assert main(["probe"]) == 0
    shown = capsys.readouterr().out
    assert "ensure" in shown
    assert "show" in shown


def test_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "compose", "wroker"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "Did you mean worker?" in done.stderr


def test_the_entry_point_imports_nothing_heavy():
    heavy = "{'numpy', 'onnxruntime', 'PIL', 'confluent_kafka', 'boto3', 'pydantic', 'torch'}"
    probe = f"import sys, compose.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
