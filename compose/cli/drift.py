"""`veristream drift`: watch whether the world still is what the model was made for."""

import typer

from compose.cli import drift_run, drift_show, drift_workspace

app = typer.Typer(help="Watch embeddings and labels for drift.", no_args_is_help=True, add_completion=False)
app.command("run")(drift_run.run)
app.command("status")(drift_show.status)
app.command("report")(drift_show.report)
app.command("workspace")(drift_workspace.workspace)
app.command("ui")(drift_workspace.ui)
