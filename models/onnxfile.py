"""Looks into an ONNX file without loading it, and refuses one that reaches outside itself.

An ONNX tensor may say that its data lies in another file, and an ``EPContext`` node may name a compiled engine on disk;
a model that came over a network could read whatever the worker can. Both are found here with a walk over the protobuf's
fields (the numbers are those of ``onnx.proto``), so that serving needs no ``onnx`` package and no tensor is copied.
"""

from collections.abc import Iterator
from typing import NamedTuple

from stream.errors import BundleInvalid

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 70
_LARGEST_KEY = 0xFFFFFFFF  # a protobuf reader would cut a larger one and see another field
_DEEPEST = 64

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_OP_TYPE = 4
_NAME = {"tensor": 8, "node": 3}
# For each message: the fields that may hold a tensor or a node somewhere below, and what they are.
_BELOW: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}


class _Field(NamedTuple):
    number: int
    wire: int
    value: int
    data: memoryview


def refuse_outside_data(model: bytes, *, where: str) -> None:
    """Checks that a model holds all its data itself.

    Raises:
        BundleInvalid: A tensor's data or a compiled engine lies in another file, or the bytes are not a protobuf.
    """
    _walk(memoryview(model), "model", where, 0)


def _walk(message: memoryview, kind: str, where: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise BundleInvalid(f"the model's graphs are nested more than {_DEEPEST} deep", where=where)
    below = _BELOW[kind]
    for field in _fields(message, where):
        if kind == "tensor" and (field.number == _EXTERNAL_DATA or (field.number == _DATA_LOCATION and field.value)):
            name = _name(message, kind, where)
            remedy = "Export the model with its weights inside"
            raise BundleInvalid(f"tensor {name!r} keeps its data in another file", where=where, remedy=remedy)
        if kind == "node" and field.number == _OP_TYPE and bytes(field.data) == b"EPContext":
            name = _name(message, kind, where)
            remedy = "Ship the plain model"
            raise BundleInvalid(f"node {name!r} names a compiled engine on disk", where=where, remedy=remedy)
        if field.number in below and field.wire == _BYTES:
            _walk(field.data, below[field.number], where, depth + 1)


def _name(message: memoryview, kind: str, where: str) -> str:
    found = [field.data for field in _fields(message, where) if field.number == _NAME[kind] and field.wire == _BYTES]
    return bytes(found[0]).decode(errors="replace") if found else ""


def _fields(message: memoryview, where: str) -> Iterator[_Field]:
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at, where)
        if key > _LARGEST_KEY:
            raise _broken(where)
        number, wire = key >> 3, key & 7
        value, data = 0, message[:0]
        if wire == _VARINT:
            value, at = _varint(message, at, where)
        elif wire == _BYTES:
            size, at = _varint(message, at, where)
            data, at = message[at : at + size], at + size
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise _broken(where)
        if at > end or number == 0:
            raise _broken(where)
        yield _Field(number, wire, value, data)


def _varint(message: memoryview, at: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < _LONGEST_VARINT:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at
    raise _broken(where)


def _broken(where: str) -> BundleInvalid:
    return BundleInvalid("the model is not a readable ONNX file", where=where)
