"""The monitor's side of the process that runs Evidently: asks, waits no longer than it must, starts it again."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from drift import frames
from drift.figures import Figures
from drift.frames import Arrays, Frame
from drift.reference import Reference
from stream.errors import EvaluationFailed

_log = logging.getLogger("veristream.drift")

_COMMAND = (sys.executable, "-m", "drift.evaluation")
_START_S, _EVALUATE_S, _PAGE_S, _BUILD_S = 120.0, 60.0, 120.0, 600.0
_END_S = 2.0

Columns = npt.NDArray[np.floating]


class Evaluator:
    """Evidently in a process of its own. For one thread at a time, except `close`.

    The process is started by `start` or the first question. It ends with this one, however that ends, because its stdin
    closes. A question that fails costs that question; a process that died is started again by the next.

    Args:
        command: What to run; for tests.
    """

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._closed = False

    def start(self) -> None:
        """Starts the process and waits until it has imported what it needs.

        Raises:
            EvaluationFailed: It ended, or took too long.
        """
        process = self.launch()
        if not self._ready:
            self._await(process, None, _START_S)
            self._ready = True

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts the process unless it runs; what it must import takes it some seconds more.

        Raises:
            EvaluationFailed: It was stopped for good.
        """
        if self._process is not None and self._process.poll() is None:
            return self._process
        if self._closed:
            raise EvaluationFailed("the process that runs Evidently was stopped", where="drift.evaluation")
        self._process = subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "DO_NOT_TRACK": "1"},
            # Ctrl-C is for this process; the other ends when its stdin closes.
            process_group=0,
        )
        self._ready = False
        return self._process

    @property
    def pid(self) -> int | None:
        """The process's id; None while there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def divergences(self, reference: Columns, current: Columns) -> npt.NDArray[np.float64]:
        """Evidently's ``kl_div`` in both directions: ``[n, C]`` and ``[m, C]`` to float64 ``[2, C]``.

        Raises:
            EvaluationFailed: Evidently failed, twice if its process died.
        """
        answer = self._ask({"kind": "evaluate"}, {"reference": reference, "current": current}, _EVALUATE_S)
        return cast("npt.NDArray[np.float64]", answer.arrays["divergences"])

    def page(self, figures: Figures, *, title: str, about: str) -> bytes:
        """Evidently's report as one HTML file, under a heading and a paragraph of ours.

        Args:
            figures: Of the window.
            title: Heading, and title of the page.
            about: What it is about, plain text.

        Raises:
            EvaluationFailed: As named.
        """
        answer = self._ask({"kind": "page", "title": title, "about": about}, figures.arrays(), _PAGE_S)
        return answer.arrays["page"].tobytes()

    def build(self, vectors: Columns, scores: Columns, **settings: Any) -> Reference:
        """`drift.reference.Reference.build` with these settings, in the other process.

        Raises:
            EvaluationFailed: The embeddings are too few, or as named.
        """
        answer = self._ask({"kind": "build", "settings": settings}, {"vectors": vectors, "scores": scores}, _BUILD_S)
        return Reference.read(answer.arrays["reference"].tobytes(), where="drift.evaluation")

    def close(self) -> None:
        """Ends the process, from any thread; a question under way fails."""
        self._closed = True
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait(_END_S)
        for pipe in (process.stdin, process.stdout):
            _close(pipe)

    def _ask(self, facts: dict[str, Any], arrays: Arrays, limit_s: float) -> Frame:
        try:
            return self._once(facts, arrays, limit_s)
        except _Died as died:
            if self._closed:
                raise
            _log.warning("the process that runs Evidently is started again: %s", died)
            return self._once(facts, arrays, limit_s)

    def _once(self, facts: dict[str, Any], arrays: Arrays, limit_s: float) -> Frame:
        self.start()
        assert self._process is not None  # noqa: S101  started
        answer = self._await(self._process, (facts, arrays), limit_s)
        if "failed" in answer.facts:
            remedy = answer.facts.get("remedy", "")
            raise EvaluationFailed(str(answer.facts["failed"]), where="drift.evaluation", remedy=remedy)
        return answer

    def _await(
        self, process: subprocess.Popen[bytes], question: tuple[dict[str, Any], Arrays] | None, limit_s: float
    ) -> Frame:
        """Asks and reads the answer; a process that takes too long is killed, which ends the reading."""
        late = threading.Timer(limit_s, process.kill)
        late.daemon = True
        late.start()
        answer = None
        try:
            if question is not None:
                frames.write(cast("IO[bytes]", process.stdin), *question)
            answer = frames.read(cast("IO[bytes]", process.stdout))
        except (OSError, ValueError):
            _log.debug("the pipe to the process that runs Evidently broke", exc_info=True)
        finally:
            late.cancel()
        if answer is None:
            process.kill()
            code = process.wait()
            for pipe in (process.stdin, process.stdout):
                _close(pipe)
            raise _Died(f"the process that runs Evidently ended with exit status {code}", where="drift.evaluation")
        return answer


class _Died(EvaluationFailed):
    """The process ended before it answered."""


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        try:
            pipe.close()
        except OSError:
            _log.debug("closing a broken pipe", exc_info=True)
