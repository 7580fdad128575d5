"""What two processes say to each other over pipes: a line of JSON, then arrays as npz. Nothing in it can run code."""

import io
import json
import struct
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]

_LENGTHS = struct.Struct(">QQ")


class Frame(NamedTuple):
    """One message: facts as JSON and arrays by name."""

    facts: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]


def write(pipe: IO[bytes], facts: Mapping[str, Any], arrays: Arrays | None = None) -> None:
    """Sends one message.

    Raises:
        OSError: Nobody reads.
    """
    head, body = json.dumps(facts).encode(), io.BytesIO()
    if arrays:
        np.savez(body, allow_pickle=False, **arrays)
    pipe.write(_LENGTHS.pack(len(head), body.tell()) + head)
    pipe.write(body.getbuffer())
    pipe.flush()


def read(pipe: IO[bytes]) -> Frame | None:
    """Receives one message; None when the other side has closed, in the middle of one or not."""
    lengths = pipe.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    of_head, of_body = _LENGTHS.unpack(lengths)
    head, body = pipe.read(of_head), pipe.read(of_body)
    if len(head) + len(body) < of_head + of_body:
        return None
    if not body:
        return Frame(json.loads(head), {})
    with np.load(io.BytesIO(body), allow_pickle=False) as file:
        return Frame(json.loads(head), {name: file[name] for name in file.files})


def blob(data: bytes) -> npt.NDArray[np.uint8]:
    """Bytes as an array."""
    return np.frombuffer(data, np.uint8)
