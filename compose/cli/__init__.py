"""The `veristream` command line.

Every command is a module of this package with a `typer.Typer` named ``app``. It is imported when it is named and not
before, so that a worker starts without paying for the rest; what ``--help`` lists is therefore the table below.

Exit codes: 0 all went well (for measuring commands: every stated limit held), 1 something failed, 2 the command line
or a setting is wrong and nothing was started, 130 interrupted.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence

import typer
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup
from typer.main import get_command

from stream.errors import ConfigurationError, VeristreamError

PROGRAM = "veristream"
COMMANDS = {
    "demo": "Run everything on this machine and watch it: broker, Redis, worker, traffic, dashboard",
    "worker": "Classify uploads: the process that runs in production",
    "subscribe": "Print verdicts as they are decided",
    "traffic": "Upload simulated pictures by a scenario and grade the verdicts",
    "backfill": "Send a folder, zip or bucket of pictures through the back door",
    "topics": "Create and inspect the topics",
    "dlq": "List, explain and replay dead letters",
    "models": "Train, evaluate, adapt, optimise and inspect model bundles",
    "drift": "Watch embeddings and labels for drift: the monitor that runs in production",
    "retrain": "Retrain on labels, hold the gate, roll out; ask for a job, and see where jobs stand",
    "scenes": "Export the simulated pictures that training reads",
    "doctor": "Tell what was found and what is wrong, in words",
    "stress": "Hold the system to stated limits while workers are killed",
    "bench": "Measure false alarms and delays of drift over many simulated streams",
}
_EXIT_FAILED = 1
_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
_NEAREST = 3
_OWN_PACKAGES = frozenset({"stream", "models", "producers", "consumers", "drift", "retrain", "compose"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. ``arguments`` default to the process's own.

    A command says how it went by raising: a `VeristreamError` becomes one message on stderr (what happened, where, what
    to do), ``typer.Exit(code)`` its code. Any other exception is a bug and keeps its traceback.
    """
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        return _run(name, rest)
    except (KeyboardInterrupt, typer.Abort):
        return _EXIT_INTERRUPTED
    except VeristreamError as error:
        _explain(error)
        return _EXIT_USAGE if isinstance(error, ConfigurationError) else _EXIT_FAILED


def _run(name: str, arguments: list[str]) -> int:
    if name in ("--help", "-h"):
        _print_help()
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=_NEAREST, cutoff=0.5)
        remedy = f"Did you mean {' or '.join(near)}?" if near else f"`{PROGRAM} --help` lists all commands"
        raise ConfigurationError(f"there is no command {name}", where=PROGRAM, remedy=remedy)
    where = f"{PROGRAM} {name}"
    try:
        command = get_command(importlib.import_module(f"{__name__}.{name}").app)
        if isinstance(command, TyperGroup) and not arguments:
            arguments = ["--help"]
        code = command.main(args=arguments, prog_name=where, standalone_mode=False)
    except typer.TyperException as error:
        near = list(getattr(error, "possibilities", None) or ())
        what = str(error) if near else error.format_message()
        context = getattr(error, "ctx", None)  # of the sub-command, where it was one that was called wrongly
        where = context.command_path if context else where
        remedy = f"Did you mean {' or '.join(near)}?" if near else f"`{where} --help` lists what there is"
        raise ConfigurationError(what.rstrip("."), where=where, remedy=remedy) from error
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _OWN_PACKAGES:
            raise
        remedy = f"pip install '{PROGRAM}[demo,train,optimise,drift,ray]', or `make setup`"
        raise ConfigurationError(f"{error.name} is not installed", where=where, remedy=remedy) from error
    return code if isinstance(code, int) else 0


def _print_help() -> None:
    rows = Table.grid(padding=(0, 3))
    for name, purpose in COMMANDS.items():
        rows.add_row(Text(name, style="bold cyan"), purpose)
    usage = Text.assemble(("Usage: ", "bold"), f"{PROGRAM} COMMAND [OPTIONS]")
    closing = (
        f"`{PROGRAM} COMMAND --help` explains one. Settings are VERISTREAM_ variables: `{PROGRAM} doctor --settings`."
    )
    parts = Group(usage, "", Text("Tells AI-generated pictures from photographs: Kafka in, verdicts out."), "")
    Console().print(parts, Padding(rows, (0, 2)), "", Text(closing), sep="\n")


def _explain(error: VeristreamError) -> None:
    """One message on stderr: what happened, where, what to do."""
    console = Console(stderr=True)
    for label, style, text in (
        ("error", "bold red", error.what),
        ("where", "dim", error.where),
        ("to do", "bold", error.remedy),
    ):
        if text:
            console.print(Text.assemble((f"{label}: ", style), text), soft_wrap=True)
