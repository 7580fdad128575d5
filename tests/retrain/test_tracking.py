from retrain.tracking import Tracking
from stream.doubles import ManualClock
from tests.retrain.mlflow import MLflow


def tracking(address: str) -> Tracking:
    return Tracking(address, "trials & errors", ManualClock())


def test_a_job_is_one_run_with_parameters_metrics_and_an_end(mlflow: MLflow) -> None:
    told = tracking(mlflow.address)
    told.begin("j1", {"kind": "adapt"})
    told.log("j1", params={"seed": 3, "nothing": None}, metrics={"auc": 0.9, "none": float("nan")}, tags={"x": "y"})
    told.end("j1", "FINISHED")
    (run,) = mlflow.runs.values()
    assert (run["name"], run["status"]) == ("j1", "FINISHED")
    assert (run["params"], run["metrics"]) == ({"seed": "3"}, {"auc": 0.9})
    assert run["tags"] == {"veristream.job": "j1", "kind": "adapt", "x": "y"}
    assert told.failures == 0


def test_a_run_is_found_again_after_a_restart(mlflow: MLflow) -> None:
    tracking(mlflow.address).begin("j1", {})
    again = tracking(mlflow.address)
    again.begin("j1", {})
    again.begin("j2", {})
    again.end("j1", "FAILED", "too few labels")
    assert [run["name"] for run in mlflow.runs.values()] == ["j1", "j2"]
    assert mlflow.runs["r0"]["tags"]["reason"] == "too few labels"
    assert [method for method, _ in mlflow.calls].count("experiments/create") == 1


def test_many_numbers_go_in_several_calls(mlflow: MLflow) -> None:
    told = tracking(mlflow.address)
    told.begin("j1", {})
    told.log("j1", metrics={f"m{number}": float(number) for number in range(250)})
    assert len(mlflow.runs["r0"]["metrics"]) == 250


def test_a_server_that_fails_or_is_away_costs_a_count(mlflow: MLflow) -> None:
    told = tracking(mlflow.address)
    mlflow.broken = True
    told.begin("j1", {})
    told.log("j1", metrics={"auc": 1.0})
    told.end("j1", "FINISHED")
    assert told.failures == 3
    away = tracking("http://127.0.0.1:1")
    away.begin("j1", {})
    assert away.failures == 1


def test_no_address_means_nobody_is_told() -> None:
    told = tracking("")
    told.begin("j1", {})
    told.end("j1", "FINISHED")
    assert told.failures == 0
