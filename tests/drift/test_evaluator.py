import os
import signal
import sys

import numpy as np
import pytest

from drift.divergence import both
from drift.evaluator import Evaluator
from drift.reference import Reference
from stream.errors import EvaluationFailed
from tests.drift import worlds

# In place of Evidently, which takes seconds to import: it answers every question with the same figures.
SAYS_ZERO = """
import sys
import numpy as np
from drift import frames

frames.write(sys.stdout.buffer, {"ready": True})
while frames.read(sys.stdin.buffer) is not None:
    frames.write(sys.stdout.buffer, {}, {"divergences": np.zeros((2, 1))})
"""


@pytest.fixture(scope="module")
def evaluator():
    evaluator = Evaluator()
    evaluator.start()
    yield evaluator
    evaluator.close()


@pytest.fixture(scope="module")
def reference() -> Reference:
    return worlds.reference()


def test_evidently_says_what_the_calibration_took(evaluator, reference):
    columns = reference.columns(*worlds.contaminated(worlds.WINDOW, seed=5, share=0.2))
    found = evaluator.divergences(reference.own_columns(), columns)
    assert found.shape == (2, len(reference.names))
    np.testing.assert_allclose(found, both(reference.own_columns(), columns), atol=1e-9)


def test_the_page_names_both_directions_and_the_worst_column_first(evaluator, reference):
    columns = reference.columns(*worlds.contaminated(worlds.WINDOW, seed=5, share=0.3))
    limits = reference.thresholds[0].values
    told = {"title": "Drift alarm of <today>", "about": "tenant <script> drifted"}
    page = evaluator.page(reference.own_columns(), columns, reference.names, limits, **told).decode()
    assert "<title>Drift alarm of &lt;today&gt;</title>" in page
    assert "<h1>Drift alarm of &lt;today&gt;</h1><p>tenant &lt;script&gt; drifted</p>" in page
    assert page.startswith("\n<!DOCTYPE html>") or "<html" in page[:500]
    assert all(name in page for name in reference.names)
    assert "Kullback-Leibler divergence of reference from current" in page
    assert min(reference.names, key=lambda name: page.index(f"column '{name}'")) == "residual"


def test_a_reference_is_built_like_here(evaluator):
    vectors, scores = worlds.usual(700, seed=3)
    asked = {
        "model_digest": worlds.DIGEST, "window": 100, "seed": 1, "size": 300, "components": 3, "repetitions": 200,
        "alpha": 0.05,
    }  # fmt: skip
    built = evaluator.build(vectors, scores, **asked)
    assert built.digest == Reference.build(vectors, scores, **asked).digest


def test_what_fails_costs_that_question(evaluator):
    with pytest.raises(EvaluationFailed, match="too few"):
        evaluator.build(*worlds.usual(60, seed=3), model_digest=worlds.DIGEST, window=50, seed=1)
    with pytest.raises(EvaluationFailed):
        evaluator.divergences(np.zeros((0, 1)), np.zeros((5, 1)))
    before = evaluator.pid
    assert evaluator.divergences(np.arange(60.0)[:, None], np.arange(50.0)[:, None]).shape == (2, 1)
    assert evaluator.pid == before


def test_a_killed_process_is_started_again():
    evaluator = Evaluator([sys.executable, "-c", SAYS_ZERO])
    evaluator.start()
    before = evaluator.pid
    os.kill(before, signal.SIGKILL)
    assert evaluator.divergences(np.arange(60.0)[:, None], np.arange(50.0)[:, None]).shape == (2, 1)
    assert evaluator.pid not in {before, None}
    evaluator.close()


def test_one_that_dies_at_once_is_an_error():
    evaluator = Evaluator(["/bin/false"])
    with pytest.raises(EvaluationFailed, match="exit status"):
        evaluator.start()
    evaluator.close()
    with pytest.raises(EvaluationFailed):
        evaluator.divergences(np.zeros((5, 1)), np.zeros((5, 1)))
