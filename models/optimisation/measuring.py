"""Asks for measurements in processes of their own, and turns what they answer into figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import models
from models.optimisation.machine import cores
from models.optimisation.probe import Request
from models.optimisation.ranges import Advance
from models.optimisation.report import Choice, Speed
from models.providers import Provider
from stream import errors
from stream.errors import ModelError

_PATIENCE_S = 900.0  # without a sign of life; TensorRT compiles for minutes
_ROOT = Path(models.__file__).parents[1]


class Bench:
    """Models and pictures in a folder, for measuring.

    Args:
        folder: An empty one.
        pixels: An npy of uint8 crops ``[pictures, k, S, S, 3]``.
    """

    def __init__(self, folder: Path, pixels: Path) -> None:
        self._folder = folder
        self._pixels = pixels

    def put(self, precision: str, model: bytes) -> None:
        """Adds the model of one precision."""
        self._model(precision).write_bytes(model)

    def scores(
        self,
        precision: str,
        provider: Provider,
        *,
        threads: int,
        batch: int,
        advance: Advance = lambda step: None,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Logits of all pictures ``[n]``, in batches, and with the first sixteen run alone.

        Args:
            precision: Of a model that was `put`.
            provider: What it runs on.
            threads: Of a run on the CPU.
            batch: Pictures in a run.
            advance: Is told how many more pictures are scored.

        Raises:
            ModelError: The model cannot be opened or run on this provider, or a logit is not finite.
        """
        out = self._folder / "logits.npy"
        self._ask({**self._request(precision, provider, threads, batch), "logits": str(out)}, advance)
        together, alone = np.load(out)
        return together, alone

    def speeds(
        self, choices: Sequence[Choice], *, seconds: float, rounds: int, advance: Advance = lambda step: None
    ) -> tuple[list[Speed], list[str]]:
        """Measures every configuration once a round, one after the other, so that a busy moment disturbs them alike.

        Args:
            choices: The configurations.
            seconds: How long each runs in a round.
            rounds: How often each is measured, in a process of its own.
            advance: Is told after every process.

        Returns:
            Figures of those that ran, at the median over all runs, and of the others why not.
        """
        answers: dict[int, list[dict[str, Any]]] = {number: [] for number in range(len(choices))}
        failed: dict[int, str] = {}
        for _ in range(rounds):
            for number, choice in enumerate(choices):
                if number not in failed:
                    request = self._request(choice.precision, choice.provider, choice.threads, choice.batch)
                    try:
                        answers[number].append(self._ask({**request, "seconds": seconds}))
                    except ModelError as error:
                        failed[number] = f"{choice}: {error.what}"
                advance(1)
        found = [_speed(choice, answers[number]) for number, choice in enumerate(choices) if number not in failed]
        return found, list(failed.values())

    def _model(self, precision: str) -> Path:
        return self._folder / f"{precision}.onnx"

    def _request(self, precision: str, provider: Provider, threads: int, batch: int) -> Request:
        return {
            "model": str(self._model(precision)),
            "pixels": str(self._pixels),
            "provider": provider,
            "threads": threads,
            "batch": batch,
        }

    def _ask(self, request: Request, advance: Advance = lambda step: None) -> dict[str, Any]:
        path = os.pathsep.join(part for part in (str(_ROOT), os.environ.get("PYTHONPATH", "")) if part)
        answer: dict[str, Any] = {}
        with tempfile.TemporaryFile("w+") as asked, tempfile.TemporaryFile("w+") as said:
            json.dump(request, asked)
            asked.seek(0)
            with subprocess.Popen(
                [sys.executable, "-m", "models.optimisation.probe"], stdin=asked, stdout=subprocess.PIPE, stderr=said,
                text=True, env={**os.environ, "PYTHONPATH": path},
            ) as process:  # fmt: skip
                done = 0
                for answer in _told(process):
                    advance(answer.get("done", done) - done)
                    done = answer.get("done", done)
            said.seek(0)
            last = (said.read().strip().splitlines() or ["it wrote nothing"])[-1]
        if not answer or "done" in answer:
            raise ModelError(f"the measuring process ended with {process.returncode}: {last}")
        if "error" in answer:
            kind: type[ModelError] = getattr(errors, answer["kind"])
            raise kind(answer["error"], where=f"{Path(request['model']).stem} on {request['provider']}")
        return answer


def _told(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What a process says, line by line, without what libraries print. One that is silent for too long is ended."""
    silent = threading.Event()

    def end() -> None:
        silent.set()
        process.kill()

    assert process.stdout is not None  # noqa: S101 - narrows the type; it was asked for
    while True:
        watch = threading.Timer(_PATIENCE_S, end)
        watch.daemon = True
        watch.start()
        line = process.stdout.readline()
        watch.cancel()
        if silent.is_set():
            remedy = "Take smaller batches, or a faster machine."
            raise ModelError(f"a batch took longer than {_PATIENCE_S:.0f} s", remedy=remedy)
        if not line:
            return
        if line.startswith("{"):
            yield json.loads(line)


def _speed(choice: Choice, answers: Sequence[dict[str, Any]]) -> Speed:
    walls = np.concatenate([answer["walls"] for answer in answers])
    busy = float(np.median(np.concatenate([answer["busy"] for answer in answers]))) / choice.batch
    each = choice.batch / float(np.median(walls))
    on_cores = choice.provider in ("cpu", "openvino")
    return Speed(
        **choice.model_dump(),
        p50_ms=_ms(np.median(walls)),
        p99_ms=_ms(np.quantile(walls, 0.99)),
        cpu_ms=_ms(busy),
        images_per_second=round(each, 1),
        capacity=round(cores() / max(busy, 1e-9) if on_cores else each, 1),
        memory_mib=round(float(np.median([answer["memory_mib"] for answer in answers])), 1),
    )


def _ms(seconds: float | np.floating[Any]) -> float:
    return round(float(seconds) * 1000, 3)
