"""Trains a tiny network and dies without a word after a few steps: `killed DATA OUT`."""

import os
import signal
import sys
from pathlib import Path

from models.training import finetuned
from models.training.progress import Listener
from tests.models.training import tiny

STEPS = 4


class _Killer(Listener):
    def __init__(self) -> None:
        self._steps = 0

    def advance(self, step: int = 1, note: str = "") -> None:
        self._steps += note.startswith("loss")
        if self._steps == STEPS:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    data, out = map(Path, sys.argv[1:])
    finetuned.train(
        [data], out, tiny.recipe(), checkpoints=out.with_name("checkpoints"), every=2, threads=1, listener=_Killer()
    )  # fmt: skip
