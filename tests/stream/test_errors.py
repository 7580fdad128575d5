import inspect

import pytest

from stream import errors
from stream.errors import BlobUnavailable, VeristreamError

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, VeristreamError)]


def drawn() -> dict[str, str]:
    """Each class of the tree in the module's docstring with the class that it is drawn under."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        text = line.strip()
        if not text.startswith(("├", "└", "│", "VeristreamError")) or "—" in text:
            continue
        depth = max(line.find("├"), line.find("└"))
        depth = 0 if depth < 0 else (depth - 4) // 4 + 1
        name = text.lstrip("├└│─ ").split()[0]
        path[depth:] = [name]
        if depth:
            parents[name] = path[depth - 1]
    return parents


def test_the_tree_is_as_drawn():
    real = {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES if kind is not VeristreamError}
    assert drawn() == real


def test_what_is_drawn_as_retryable_is():
    lines = (errors.__doc__ or "").splitlines()
    said = {line.lstrip("│├└─ ").split()[0] for line in lines if "(retryable" in line}
    assert {kind.__name__ for kind in CLASSES if kind.retryable} == said


@pytest.mark.parametrize(
    ("where", "remedy", "text"),
    [
        ("", "", "it is away"),
        ("s3://b/k", "", "it is away (s3://b/k)"),
        ("", "Wait", "it is away. Wait"),
        ("s3://b/k", "Wait", "it is away (s3://b/k). Wait"),
    ],
)
def test_an_error_says_what_where_and_what_to_do(where, remedy, text):
    assert str(BlobUnavailable("it is away", where=where, remedy=remedy)) == text
