"""`veristream retrain`: the coordinator, a person's trigger, where jobs stand, and how long their pictures stay."""

import typer

from compose.cli import retrain_jobs, retrain_run, retrain_sweep

app = typer.Typer(
    help="Retrain on labels, hold the gate, roll out; ask for a job, end one, and see where jobs stand.",
    no_args_is_help=True,
    add_completion=False,
)
app.command("run")(retrain_run.run)
app.command("start")(retrain_run.start)
app.command("cancel")(retrain_run.cancel)
app.command("status")(retrain_jobs.status)
app.command("show")(retrain_jobs.show)
app.command("rebuild")(retrain_jobs.rebuild)
app.command("sweep")(retrain_sweep.sweep)
