"""One measurement in a process of its own: ``python -m models.optimisation.probe`` with a request on standard input.

So that no session disturbs another's speed or memory. It imports what serving a model needs and nothing else. Answers
with one JSON object on the last line of standard output; lines before it, ``{"done": …}``, tell how many pictures are
scored. An error of the tree becomes ``{"error": …, "kind": …}`` and exit status 1.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.providers import RUNTIME_ERRORS, Provider, open_session
from stream.errors import InferenceFailed, VeristreamError

_WARM_UP = 3
_FEWEST = 10
_LONGEST_S = 20.0  # warming up, and again measuring: of a large model on a processor one batch may take a minute
_ALONE = 16
_STATUS = Path("/proc/self/status")


class Request(TypedDict):
    """What to measure; ``pixels`` is an npy of uint8 crops ``[pictures, k, S, S, 3]``."""

    model: str
    pixels: str
    provider: Provider
    threads: int
    batch: int
    seconds: NotRequired[float]
    logits: NotRequired[str]


def main() -> int:
    """Answers one request; returns the exit status."""
    request: Request = json.load(sys.stdin)
    try:
        session = open_session(
            Path(request["model"]).read_bytes(), wish=request["provider"], threads=request["threads"]
        )  # fmt: skip
        pictures = np.load(request["pixels"], mmap_mode="r")
        answer = _scores(session, pictures, request) if "logits" in request else _speed(session, pictures, request)
    except VeristreamError as error:
        json.dump({"error": error.what, "kind": type(error).__name__}, sys.stdout)
        return 1
    json.dump(answer, sys.stdout)
    return 0


def _scores(session: onnxruntime.InferenceSession, pictures: npt.NDArray[np.uint8], request: Request) -> dict[str, Any]:
    """Writes every picture's logit to the file asked for; says how far the first ones move when run alone."""
    batch = request["batch"]
    parts = []
    for start in range(0, len(pictures), batch):
        parts.append(_logits(session, pictures[start : start + batch]))
        sys.stdout.write(json.dumps({"done": start + len(parts[-1])}) + "\n")
        sys.stdout.flush()
    together = np.concatenate(parts)
    alone = np.concatenate(
        [_logits(session, pictures[number : number + 1]) for number in range(len(together))[:_ALONE]]
    )
    np.save(request["logits"], np.stack([together, np.r_[alone, together[len(alone) :]]]))
    return {"pictures": len(together)}


def _logits(session: onnxruntime.InferenceSession, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    count, each = pictures.shape[:2]
    values = _run(session, pictures)[0]
    if values.shape != (count * each,):
        raise InferenceFailed(f"logit has shape {values.shape} for {count * each} crops")
    found = np.asarray(values.reshape(count, each).mean(1, dtype=np.float64))
    if not np.isfinite(found).all():
        raise InferenceFailed("logit is not finite for a picture")
    return found


def _speed(session: onnxruntime.InferenceSession, pictures: npt.NDArray[np.uint8], request: Request) -> dict[str, Any]:
    """Times runs until the seconds are over, and some runs if they do not take too long: wall and processor time."""
    batch, seconds = request["batch"], request.get("seconds", 0.0)
    block = np.resize(pictures[:batch], (batch, *pictures.shape[1:]))
    began = time.perf_counter()
    for _ in range(_WARM_UP):
        if time.perf_counter() - began < _LONGEST_S:
            _run(session, block)
    walls: list[float] = []
    busy: list[float] = []
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds or len(walls) < (_FEWEST if spent < _LONGEST_S else 1):
        wall, processor = time.perf_counter(), time.process_time()
        _run(session, block)
        busy.append(time.process_time() - processor)
        walls.append(time.perf_counter() - wall)
    return {"walls": walls, "busy": busy, "memory_mib": _peak_mib()}


def _run(session: onnxruntime.InferenceSession, pictures: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    crops = np.ascontiguousarray(pictures.reshape(-1, *pictures.shape[2:]))
    try:
        found: list[npt.NDArray[np.float32]] = session.run(["logit", "embedding"], {"crops": crops})
    except RUNTIME_ERRORS as error:
        raise InferenceFailed(f"the model failed on {len(crops)} crops: {error}") from error
    return found


def _peak_mib() -> float:
    # The kernel's own peak: getrusage inherits that of whoever started this process.
    if _STATUS.is_file():
        kib = next(line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(kib) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    sys.exit(main())
