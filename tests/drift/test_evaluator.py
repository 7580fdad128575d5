import json
import os
import re
import signal
import sys

import numpy as np
import pytest

from drift import shift
from drift.divergence import both
from drift.evaluator import Evaluator
from drift.facts import Facts
from drift.figures import Figures
from drift.metrics import DriftMetrics
from drift.pages import Pages, figures_uri
from drift.reference import Reference
from stream.blobs import open_store
from stream.errors import EvaluationFailed
from stream.settings import BlobSettings, Settings
from tests.drift import alarms, worlds
from tests.drift.test_shift import slightly_moved

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
    figures = Figures(reference.own_columns(), columns, reference.names, limits, np.empty((2, 0)))
    page = evaluator.page(figures, **told).decode()
    assert "<title>Drift alarm of &lt;today&gt;</title>" in page
    assert "<h1>Drift alarm of &lt;today&gt;</h1><p>tenant &lt;script&gt; drifted</p>" in page
    assert page.startswith("\n<!DOCTYPE html>") or "<html" in page[:500]
    assert all(name in page for name in reference.names)
    assert "Kullback-Leibler divergence of reference from current" in page
    assert min(reference.names, key=lambda name: page.index(f"column '{name}'")) == "residual"


def test_a_shift_that_no_column_shows_is_the_first_that_the_page_shows(evaluator, tmp_path):
    reference = worlds.reference(n=4000)
    alarm = alarms.alarm(reference, *(slightly_moved(worlds.WINDOW, seed=seed) for seed in (8, 9)))
    beyond = alarm.judgement.exceeded
    assert {part.name for part in beyond} == set(shift.COLUMNS)
    settings = Settings(blobs=BlobSettings(store=tmp_path.as_uri()))
    told = Pages(settings, open_store(settings.blobs), evaluator, Facts(10), DriftMetrics()).publish(alarm)

    page = (tmp_path / "drift" / alarm.report.report_id / "report.html").read_text()
    detected = re.findall(r"Data drift detected\. Drift detection method: ([^.]*)\. Drift score: ([\d.]+)", page)
    method = json.dumps(f"{shift.NAME} of the last windows").strip('"')
    assert detected == [(method, str(round(part.value, 3))) for part in beyond]
    columns = re.findall(r"Drift in column '([^']*)'", page)
    assert columns[:2] == [f"shift, {part.name}" for part in beyond]
    assert set(columns[2:]) == set(reference.names)
    figures = Figures.read(open_store(settings.blobs).read(figures_uri(told), limit=10_000_000))
    new = np.arange(worlds.WINDOW) % 10 == 0
    for before, now in zip(figures.reference[:, -2:].T, figures.current[:, -2:].T, strict=True):
        assert abs(before.mean()) < 0.1 < now.mean()
        assert now[new].mean() > now[~new].mean() + 1.0


def test_where_the_mean_has_not_moved_the_page_has_no_column_for_it(evaluator, tmp_path):
    settings = Settings(blobs=BlobSettings(store=tmp_path.as_uri()))
    pages = Pages(settings, open_store(settings.blobs), evaluator, Facts(10), DriftMetrics())
    pages.publish(alarms.alarm(worlds.reference(n=4000), worlds.usual(worlds.WINDOW, seed=10)))
    page = next(tmp_path.glob("drift/*/report.html")).read_text()
    assert set(re.findall(r"Drift in column '([^']*)'", page)) == set(worlds.reference(n=4000).names)


def test_figures_from_before_shifts_had_columns_are_read(tmp_path):
    reference = worlds.reference()
    whole = Figures(
        reference.own_columns(), reference.own_columns()[:50], reference.names, reference.thresholds[0].values,
        np.empty((2, 0)),
    )  # fmt: skip
    np.savez(tmp_path / "window.npz", **{name: part for name, part in whole.arrays().items() if name != "shifts"})
    for found in (Figures.read((tmp_path / "window.npz").read_bytes()), Figures.read(whole.to_bytes())):
        assert found.names == whole.names
        assert all(np.array_equal(part, whole.arrays()[name]) for name, part in found.arrays().items())


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
