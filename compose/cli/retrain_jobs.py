"""`veristream retrain status`, `show` and `rebuild`: where jobs stand, what one went through, and one made again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from compose.cli.extras import needing
from retrain.history import ENDS, History, Job
from stream import messages
from stream.blobs import open_store
from stream.errors import ConfigurationError, ContractError
from stream.events import RetrainStep
from stream.settings import Settings, load
from stream.snapshot import read_all
from stream.topics import layout

_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout")]
Named = Annotated[str, typer.Argument(help="A job's id; its first letters are enough", metavar="JOB")]

_STYLES = {
    "promoted": "bold green", "refused": "bold red", "failed": "bold red", "rolled_back": "bold red",
    "evaluated": "green", "registered": "green",
}  # fmt: skip
_SHOWN, _INDENT = 12, 4
_FEW_FIGURES = 8


def read_history(settings: Settings) -> History:
    """Every job on the `retrain` topic; records that are no steps are named on stderr and passed over.

    Raises:
        BrokerUnavailable: The broker is silent.
        BrokerError: It refuses.
    """
    history = History()
    for record in read_all(settings.kafka, [layout(settings.topics)["retrain"].name]):
        try:
            history.see(messages.decode(record, RetrainStep))
        except ContractError as error:
            Console(stderr=True).print(Text(f"{record.place} is passed over: {error}", style="dim"))
    return history


def status(
    *, limit: Annotated[int, typer.Option(min=1, help="The newest so many jobs")] = 20, as_json: _Json = False
) -> None:
    """Show where jobs stand, the newest first."""
    jobs = list(read_history(load()).jobs.values())[::-1][:limit]
    if as_json:
        typer.echo(json.dumps({"jobs": [_facts(job) for job in jobs]}))
        return
    console = Console(highlight=False)
    for job in jobs:
        last, why = job.last, "; ".join(job.last.reasons) or job.last.reason
        step = (f"  {last.step.replace('_', ' ')}", _STYLES.get(last.step, "yellow"))
        # As Text, because a reason must not be read as markup.
        console.print(Text.assemble((job.id, "bold"), f"  {job.first.at:%Y-%m-%d %H:%M}", step))
        for line in dict.fromkeys((job.first.trigger, why)):
            console.print(Padding(Text(line), (0, 0, 0, _INDENT)))
    if not jobs:
        console.print("No job was ever asked for.")


def show(job: Named, *, as_json: _Json = False) -> None:
    """Show every step of one job, with what was measured."""
    found = named(read_history(load()), job)
    if as_json:
        typer.echo(
            json.dumps(_facts(found) | {"steps": [step.model_dump(mode="json") for step in found.steps.values()]})
        )
        return
    console = Console(highlight=False)
    console.print(Text.assemble(("job ", "dim"), (found.id, "bold"), f"  {found.first.trigger}"))
    parent, made = found.first.parent, found.challenger
    console.print(Text(f"from {(parent or '–')[:_SHOWN]} to {(made or '–')[:_SHOWN]}", style="dim"))
    table = Table("at", "after", "step", "what", box=None, header_style="bold")
    before: dict[str, float] = {}
    for step in found.steps.values():
        seconds = (step.at - found.first.at).total_seconds()
        news = {name: value for name, value in step.figures.items() if before.get(name) != value}
        before |= step.figures
        lines = [*(step.reasons or ((step.reason,) if step.reason else ())), *_figures(news, whole=step.step in ENDS)]
        table.add_row(
            f"{step.at:%m-%d %H:%M:%S}", f"{seconds:.0f} s", Text(step.step, _STYLES.get(step.step, "yellow")),
            Text("\n".join(lines)),
        )  # fmt: skip
    console.print(table)


def rebuild(
    job: Named,
    *,
    out: Annotated[
        str, typer.Option(help="Folder for the bundle; it must not exist yet. Left out: nothing is kept")
    ] = "",
    as_json: _Json = False,
) -> None:
    """Make a job's challenger again from its manifest, and see that it is the same. Needs the `adapt` extra."""
    rebuilding, runner = (
        needing("adapt", "Making a challenger again", f"retrain.jobs.{name}") for name in ("rebuilding", "runner")
    )
    if not runner.ALONE.items() <= os.environ.items():
        # Sums of floats hang on how many threads add them up, and that is settled when numpy is loaded.
        more = [*(["--out", out] if out else []), *(["--json"] if as_json else [])]
        command = [sys.executable, "-m", "compose", "retrain", "rebuild", job, *more]
        raise typer.Exit(subprocess.run(command, env={**os.environ, **runner.ALONE}, check=False).returncode)  # noqa: S603
    settings = load()
    found = rebuilding.rebuild(named(read_history(settings), job).id, open_store(settings.blobs), settings)
    if out:
        found.bundle.save(out)
    if as_json:
        facts = {"digest": found.bundle.digest, "expected": found.expected, "same": found.same}
        typer.echo(json.dumps(facts | {"changed": list(found.changed)}))
    else:
        console = Console(highlight=False)
        console.print(f"{'the same bundle' if found.same else 'another bundle'}: {found.bundle.digest}")
        for change in found.changed:
            console.print(Text(f"changed: {change}", style="dim"))
    if not found.same:
        raise typer.Exit(1)


def named(history: History, name: str) -> Job:
    """The one job whose id begins so.

    Raises:
        ConfigurationError: There is none, or more than one.
    """
    found = [job for job in history.jobs.values() if job.id.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} jobs have an id that begins with {name}"
    raise ConfigurationError(what, where="JOB", remedy="`veristream retrain status` lists them")


def _facts(job: Job) -> dict[str, Any]:
    last = job.last
    return {
        "job": job.id,
        "kind": job.first.kind,
        "trigger": job.first.trigger,
        "step": last.step,
        "over": job.over,
        "reason": last.reason,
        "reasons": list(last.reasons),
        "requested_at": job.first.at.isoformat(),
        "at": last.at.isoformat(),
        "parent": job.first.parent,
        "challenger": job.challenger,
        "figures": job.figures,
    }


def _figures(figures: dict[str, float], *, whole: bool) -> list[str]:
    """Figures in lines of four; all of them at a job's end, else the first few."""
    cells = [f"{name} {value:.4g}" for name, value in figures.items()]
    shown = cells if whole else cells[:_FEW_FIGURES]
    more = [f"and {len(cells) - len(shown)} more with --json"] if len(shown) < len(cells) else []
    return [" · ".join(shown[start : start + 4]) for start in range(0, len(shown), 4)] + more
