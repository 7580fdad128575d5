"""Where a run stands, as one file: arrays in an .npz, everything else as JSON inside it; no pickle.

The file is replaced whole, so a kill at any moment leaves the last one or this one.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.errors import ConfigurationError

FILE = "checkpoint.npz"
_FACTS = "facts.json"
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)

Arrays = dict[str, NDArray[Any]]
Told = Callable[[Path, int], None]
"""Is told, on every process, that a checkpoint was due: where the first one wrote it, and how many steps were done."""


def nobody(path: Path, step: int) -> None:
    """Is told and does nothing."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoint of one run.

    Args:
        folder: Where it lies; made when it is first written.
        run: What tells this run from others: a digest of its recipe and data.
        every: Steps between two of them.
        told: Hands them on.
    """

    folder: Path
    run: str
    every: int = 200
    told: Told = nobody

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    def read(self) -> tuple[Arrays, dict[str, Any]]:
        """The arrays and the facts last written.

        Raises:
            ConfigurationError: There is none, it is broken, or it belongs to another run.
        """
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            facts: dict[str, Any] = json.loads(arrays.pop(_FACTS).tobytes())
        except FileNotFoundError as error:
            raise ConfigurationError(
                "there is no checkpoint to go on from", where=str(self.path), remedy="Start without --resume."
            ) from error
        except _BROKEN as error:
            raise ConfigurationError(
                f"the checkpoint cannot be read: {error}", where=str(self.path), remedy="Remove it and start again."
            ) from error
        if facts["run"] != self.run:
            raise ConfigurationError(
                "the checkpoint belongs to another recipe or to other pictures",
                where=str(self.path),
                remedy="Name the folder of this run's checkpoint, or start without --resume in another one.",
            )
        return arrays, facts

    def refuse_old(self) -> None:
        """Keeps a new run from writing over another's checkpoint.

        Raises:
            ConfigurationError: There is one.
        """
        if self.path.exists():
            raise ConfigurationError(
                "there is a checkpoint already",
                where=str(self.path),
                remedy="Go on from it with --resume, or remove it to start again.",
            )

    def write(self, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Replaces the checkpoint.

        Raises:
            ConfigurationError: It cannot be written.
        """
        text = json.dumps({**facts, "run": self.run}, allow_nan=False).encode()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(prefix=f".{FILE}.", dir=self.folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    np.savez(file, **{_FACTS: np.frombuffer(text, np.uint8)}, **arrays)  # type: ignore[arg-type]
                    file.flush()
                    os.fsync(file.fileno())
                Path(draft).replace(self.path)
            except OSError:
                Path(draft).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ConfigurationError(
                f"the checkpoint cannot be written: {error.strerror}", where=str(self.folder)
            ) from error

    def remove(self) -> None:
        """Removes the checkpoint of a run that has ended, and the folder if nothing else lies there."""
        self.path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
