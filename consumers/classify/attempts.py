"""The border between one record's bad luck and the worker's: what nobody foresaw becomes an error of that record."""

from collections.abc import Iterator
from contextlib import contextmanager

from stream.errors import ProcessingFailed, VeristreamError


@contextmanager
def foreseen(stage: str, where: str) -> Iterator[None]:
    """Lets this project's errors through and turns any other exception into one.

    A bug that one picture brings out must neither stop the other uploads nor be swallowed: the upload is dead-lettered
    with the exception's class in the message, and the breaker counts it, so a bug that every picture brings out stops
    the worker.

    Args:
        stage: What was going on, such as ``decode``.
        where: The record.

    Raises:
        ProcessingFailed: The block raised something that is no `VeristreamError`.
    """
    try:
        yield
    except VeristreamError:
        raise
    except Exception as error:
        raise ProcessingFailed(
            f"{stage} raised {type(error).__name__}: {error}",
            where=where,
            remedy="This is a bug in the worker: report it with this letter, and replay the letter once it is mended",
        ) from error
