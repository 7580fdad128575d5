"""Asks for measurements in processes of their own, and turns what they answer into figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import models
from models.optimisation.machine import cores
from models.optimisation.probe import Request
from models.optimisation.report import Choice, Speed
from models.providers import Provider
from stream import errors
from stream.errors import ModelError

_PATIENCE_S = 900.0  # TensorRT compiles for minutes
_ROOT = Path(models.__file__).parents[1]

Advance = Callable[[int], None]


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
        self, precision: str, provider: Provider, *, batch: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Logits of all pictures ``[n]``, in batches, and with the first sixteen run alone.

        Raises:
            ModelError: The model cannot be opened or run on this provider, or a logit is not finite.
        """
        out = self._folder / "logits.npy"
        self._ask({**self._request(precision, provider, 1, batch), "logits": str(out)})
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

    def _ask(self, request: Request) -> dict[str, Any]:
        path = os.pathsep.join(part for part in (str(_ROOT), os.environ.get("PYTHONPATH", "")) if part)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "models.optimisation.probe"], input=json.dumps(request), capture_output=True,
                text=True, timeout=_PATIENCE_S, check=False, env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"measuring it took longer than {_PATIENCE_S:.0f} s") from error
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except json.JSONDecodeError as error:
            last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
            raise ModelError(f"the measuring process ended with {done.returncode}: {last}") from error
        if "error" in answer:
            kind: type[ModelError] = getattr(errors, answer["kind"])
            raise kind(answer["error"], where=f"{Path(request['model']).stem} on {request['provider']}")
        return answer


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
