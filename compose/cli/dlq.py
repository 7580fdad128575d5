"""``veristream dlq``: read why uploads could not be judged, and send them back once the reason is gone."""

import heapq
import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.deadletter import DeadLetter
from stream.errors import ConfigurationError
from stream.replay import Replayer, letters
from stream.settings import Settings, load
from stream.topics import dead_letters, layout

app = typer.Typer(help="List, explain and replay dead letters.", no_args_is_help=True, add_completion=False)

Source = Annotated[str, typer.Option("--topic", help="Source topic, such as uploads; every one unless given")]
Kinds = Annotated[list[str], typer.Option("--error", help="Only letters of this error class; may be repeated")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout")]


@app.command("list")
def list_letters(
    topic: Source = "",
    error: Kinds = [],  # noqa: B006  typer copies it
    limit: Annotated[int, typer.Option(min=1, help="Show this many, the newest")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the newest dead letters: what died, where, why, and what to do about it."""
    settings = load()
    found = (letter for letter in letters(settings.kafka, _topics(settings, topic)) if _wanted(letter, error, ()))
    newest = [_facts(letter) for letter in heapq.nlargest(limit, found, key=lambda letter: letter.at)]
    if as_json:
        typer.echo(json.dumps({"letters": newest}))
    else:
        Console().print(_table(newest))


@app.command("replay")
def replay_letters(  # noqa: PLR0917  typer passes options by position
    topic: Source = "",
    error: Kinds = [],  # noqa: B006  typer copies it
    offset: Annotated[
        list[str], typer.Option("--offset", help="Only this letter, as listed: uploads.dlq[3]@17; may be repeated")
    ] = [],  # noqa: B006  typer copies it
    again: Annotated[bool, typer.Option("--again", help="Also letters that were replayed before")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed, send nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters back to the topics they came from, each of them once."""
    settings = load()
    replayer = Replayer(settings.kafka, _topics(settings, topic))
    try:
        found = replayer.run(lambda letter: _wanted(letter, error, offset), again=again, dry_run=dry_run)
        # Facts without the pictures' bytes: there may be many letters.
        chosen = [_facts(letter) for letter in found]
    finally:
        replayer.close()
    if as_json:
        typer.echo(json.dumps({"replayed": 0 if dry_run else len(chosen), "letters": chosen}))
        return
    Console().print(_table(chosen))
    Console().print(f"{len(chosen)} letters {'would be' if dry_run else 'were'} replayed")


def _topics(settings: Settings, source: str) -> list[str]:
    names = {topic.name for topic in layout(settings.topics).values()}
    sources = sorted(name for name in names if dead_letters(name) in names)
    if not source:
        return [dead_letters(name) for name in sources]
    for name in (source, settings.topics.prefix + source):
        if name in sources:
            return [dead_letters(name)]
    remedy = f"Name one of {', '.join(sources)}"
    raise ConfigurationError(f"{source} is no topic with dead letters", where="--topic", remedy=remedy)


def _wanted(letter: DeadLetter, kinds: Sequence[str], places: Sequence[str]) -> bool:
    return (not kinds or letter.error in kinds) and (not places or letter.record.place in places)


def _facts(letter: DeadLetter) -> dict[str, Any]:
    return {
        "letter": letter.record.place,
        "key": (letter.record.key or b"").decode(errors="replace"),
        "error": letter.error,
        "what": letter.what,
        "where": letter.where,
        "why": letter.why,
        "remedy": letter.remedy,
        "stage": letter.stage,
        "attempts": letter.attempts,
        "source": {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset},
        "model": letter.model_digest,
        "at": letter.at.isoformat(),
        "replays": letter.replays,
        "bytes": letter.record.size,
    }


def _table(found: Sequence[dict[str, Any]]) -> Table:
    table = Table("at", "letter", "key", "error", "what, where, why", box=None, header_style="bold")
    for facts in found:
        words = [f"{facts['what']} ({facts['where']})", facts["why"], facts["remedy"]]
        at = facts["at"].partition(".")[0].replace("T", " ")
        cells = (at, facts["letter"], facts["key"], facts["error"], "\n".join(filter(None, words)))
        # As Text, because what a producer sent must not be read as markup.
        table.add_row(*map(Text, cells))
    return table
