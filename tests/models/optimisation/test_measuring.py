import io
import json

import numpy as np
import pytest

from models.optimisation import measuring, probe
from models.optimisation.measuring import Bench
from models.optimisation.report import Choice
from stream.errors import InferenceFailed, ModelError
from tests.models.optimisation.nets import crops, graph

ONE = Choice(precision="fp32", provider="cpu", threads=1, batch=2)


@pytest.fixture
def bench(tmp_path):
    np.save(tmp_path / "pixels.npy", crops(21)[:, None])
    made = Bench(tmp_path, tmp_path / "pixels.npy")
    made.put("fp32", graph().SerializeToString())
    return made


def test_scoring_tells_how_far_it_is(bench):
    told: list[int] = []
    together, alone = bench.scores("fp32", "cpu", threads=1, batch=4, advance=told.append)
    assert [step for step in told if step] == [4, 4, 4, 4, 4, 1]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_process_that_is_silent_for_too_long_is_ended(bench, monkeypatch):
    monkeypatch.setattr(measuring, "_PATIENCE_S", 0.001)
    with pytest.raises(ModelError, match=r"longer than .* smaller batches"):
        bench.scores("fp32", "cpu", threads=1, batch=4)
    found, failed = bench.speeds([ONE], seconds=0, rounds=2)
    assert not found
    assert len(failed) == 1


def test_what_the_process_met_comes_back_as_its_own_error(bench):
    bench.put("int8", graph(spoil=float("nan")).SerializeToString())
    with pytest.raises(InferenceFailed, match="not finite"):
        bench.scores("int8", "cpu", threads=1, batch=4)


class Slow:
    """A session and its clock: every run takes half a minute."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runs = 0

    def run(self, outputs, given):
        self.now += 30
        self.runs += 1


@pytest.mark.parametrize("seconds", [0, 45, 75])
def test_a_large_model_is_not_run_more_often_than_it_was_asked_for(seconds, tmp_path, monkeypatch):
    slow = Slow()
    model = tmp_path / "model.onnx"
    model.write_bytes(b"")
    np.save(tmp_path / "pixels.npy", crops(2)[:, None])
    request = {
        "model": str(model), "pixels": str(tmp_path / "pixels.npy"), "provider": "cpu", "threads": 1, "batch": 1,
        "seconds": seconds,
    }  # fmt: skip
    answer = io.StringIO()
    monkeypatch.setattr(probe, "open_session", lambda *args, **given: slow)
    monkeypatch.setattr(probe.time, "perf_counter", lambda: slow.now)
    monkeypatch.setattr(probe.sys, "stdin", io.StringIO(json.dumps(request)))
    monkeypatch.setattr(probe.sys, "stdout", answer)
    assert probe.main() == 0
    measured = max(1, -(-seconds // 30))
    assert json.loads(answer.getvalue())["walls"] == [30.0] * measured
    assert slow.runs == 1 + measured
