"""The process that runs Evidently, and whatever else would hold the Faust loop up: `python -m drift.evaluation`.

Evidently takes seconds and 300 MB to import, a page takes seconds to render, and calibrating a reference takes all of a
core for a while. All of it happens here, on requests that come through stdin and are answered through stdout
(`drift.frames`), one at a time, until stdin closes. `drift.evaluator` is the other side.

A column's figure is Evidently's own ``kl_div`` test, called once in each direction. It is the cheapest of Evidently's
calls: 0.1 s for 2,000 rows of 66 columns, where a `Report` over the same columns takes 2 s. The page that an alarm
leaves is such a report.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from drift import frames, shift
from drift.figures import Figures
from drift.frames import Frame, blob
from drift.reference import Reference
from stream.errors import VeristreamError

# Evidently counts its users over the network unless told not to; this must be said before it is imported.
os.environ["DO_NOT_TRACK"] = "1"

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Snapshot
from evidently.legacy.calculations.stattests.kl_div import kl_div_stat_test
from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.metrics import ValueDrift

Columns = npt.NDArray[np.floating]

BACKWARD = "kl_div_backward"

_HEADER = "font: 16px/1.5 system-ui, sans-serif; max-width: 90ch; padding: 12px 40px 0; overflow-wrap: anywhere"


def divergences(reference: Columns, current: Columns) -> npt.NDArray[np.float64]:
    """Evidently's ``kl_div`` of every column in both directions.

    Args:
        reference: ``[n, C]``.
        current: ``[m, C]``.

    Returns:
        float64 ``[2, C]``: KL(reference‖current), then KL(current‖reference), in nats.
    """
    pairs = [(pd.Series(reference[:, number]), pd.Series(current[:, number])) for number in range(reference.shape[1])]
    forward = [_kl_div(before, after) for before, after in pairs]
    return np.array([forward, [_kl_div(after, before) for before, after in pairs]], np.float64)


def snapshot(figures: Figures, title: str, *, at: datetime | None = None) -> Snapshot:
    """Evidently's report on a window: both directions of every column, and every shift, against their own thresholds.

    The column that exceeds its threshold by most comes first.

    Args:
        figures: Of the window.
        title: Name of the run.
        at: When it was judged; now unless given.
    """
    _register_backward()
    names, thresholds, (shifts, limits) = list(figures.names), figures.thresholds, figures.shifts
    watched = thresholds.shape[1]
    found = divergences(figures.reference[:, :watched], figures.current[:, :watched])
    excess = np.concatenate([(found / thresholds).max(axis=0), shifts / limits])
    definition = DataDefinition(numerical_columns=names)
    before, after = (
        Dataset.from_pandas(pd.DataFrame(rows, columns=names), data_definition=definition)
        for rows in (figures.reference, figures.current)
    )
    metrics = [
        [
            ValueDrift(column=names[number], method=method, threshold=float(thresholds[direction, number]))
            for direction, method in enumerate(("kl_div", BACKWARD))
        ]
        for number in range(watched)
    ]
    metrics += [
        [ValueDrift(column=name, method=_register_shift(name, float(value)), threshold=float(limit))]
        for name, value, limit in zip(names[watched:], shifts, limits, strict=True)
    ]
    in_order = [metric for number in np.argsort(-excess, kind="stable") for metric in metrics[number]]
    return Report(in_order).run(after, before, name=title, timestamp=at)


def _kl_div(reference: pd.Series, current: pd.Series) -> float:
    return float(kl_div_stat_test(reference, current, ColumnType.Numerical, None).drift_score)


def _register_backward() -> None:
    """Makes the other direction known to Evidently's reports by a name of its own."""

    def swapped(reference: pd.Series, current: pd.Series, _: ColumnType, threshold: float) -> tuple[float, bool]:
        value = _kl_div(current, reference)
        return value, value >= threshold

    test = StatTest(BACKWARD, "Kullback-Leibler divergence of reference from current", [ColumnType.Numerical], 0.1)
    register_stattest(test, swapped)


def _register_shift(column: str, value: float) -> str:
    """Makes a shift known to Evidently's reports as the test of its column, and returns what it is called there.

    Evidently cannot take it itself: it is one of the mean in all directions, and of several windows together.
    """

    def taken(_: pd.Series, __: pd.Series, ___: ColumnType, threshold: float) -> tuple[float, bool]:
        return value, value > threshold

    method = f"t_squared of {column}"
    register_stattest(StatTest(method, f"{shift.NAME} of the last windows", [ColumnType.Numerical], 0.0), taken)
    return method


def _evaluate(request: Frame) -> dict[str, npt.NDArray[Any]]:
    return {"divergences": divergences(request.arrays["reference"], request.arrays["current"])}


def _page(request: Frame) -> dict[str, npt.NDArray[Any]]:
    facts, arrays = request
    run = snapshot(Figures.of(arrays), facts["title"])
    with tempfile.TemporaryDirectory(prefix="veristream-report-") as folder:
        path = Path(folder) / "report.html"
        run.save_html(str(path))
        page = path.read_text(encoding="utf-8")
    title, about = escape(facts["title"]), escape(facts["about"])
    # Evidently's page has neither; of several in a browser nobody could tell which is which.
    page = page.replace("<head>", f"<head><title>{title}</title>", 1)
    page = page.replace("<body>", f'<body><header style="{_HEADER}"><h1>{title}</h1><p>{about}</p></header>', 1)
    return {"page": blob(page.encode())}


def _build(request: Frame) -> dict[str, npt.NDArray[Any]]:
    facts, arrays = request
    reference = Reference.build(arrays["vectors"], arrays["scores"], **facts["settings"])
    return {"reference": blob(reference.to_bytes())}


_ANSWERS: Mapping[str, Callable[[Frame], dict[str, npt.NDArray[Any]]]] = {
    "evaluate": _evaluate,
    "page": _page,
    "build": _build,
}


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers requests until there are no more."""
    frames.write(answers, {"ready": True})
    while (request := frames.read(requests)) is not None:
        try:
            found = _ANSWERS[request.facts["kind"]](request)
        except VeristreamError as error:
            frames.write(answers, {"failed": error.what, "remedy": error.remedy})
        except Exception as error:  # noqa: BLE001  whatever Evidently raises is an answer, not the end of the process
            frames.write(answers, {"failed": f"{type(error).__name__}: {error}"})
        else:
            frames.write(answers, {}, found)


def main() -> None:
    """Serves stdin and stdout; what anybody prints goes to stderr instead."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Whoever asked may be gone before the answer is ready.
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
