"""`veristream bench`: measures that need many simulated runs."""

import typer

from compose.cli.bench_drift import drift

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Measure what needs many simulated runs.")
app.command()(drift)


@app.callback()
def _group() -> None:
    """Measure what needs many simulated runs."""
