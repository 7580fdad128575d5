"""Dead letters: what could not be judged is kept whole on ``<topic>.dlq``, with the reason in words.

A letter is the original record (key, value and headers as they came) with ``dlq_*`` headers added; those names are
reserved, and a letter's own replace any that a producer sent. `replay` takes them off again, so a letter that is
replayed reaches the worker as it first did, with a count of its replays.
"""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from stream.cloudevents import format_time, parse_time
from stream.errors import BreakerOpen, MalformedEvent, VeristreamError
from stream.records import Outgoing, Record
from stream.settings import BreakerSettings

SUFFIX = ".dlq"
_RESERVED = "dlq_"
_REPLAYS = "dlq_replays"
_LONGEST = 2000
_FEWEST = 20


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter, read back.

    Attributes:
        record: The record on the dead-letter topic.
        error: Class of the error, such as ``TruncatedImage``.
        what: What happened, as a sentence.
        where: The record, file or address it happened at.
        why: What errors of this class mean, and the underlying error if there was one.
        remedy: What to do about it; may be empty.
        stage: Where in the pipeline it died, such as ``decode``.
        attempts: How often it was tried.
        topic: Topic it came from.
        partition: Partition it came from.
        offset: Its offset there.
        model_digest: The model at work; None when none was.
        at: When it died.
        replays: How often it had been replayed before it died.
    """

    record: Record
    error: str
    what: str
    where: str
    why: str
    remedy: str
    stage: str
    attempts: int
    topic: str
    partition: int
    offset: int
    model_digest: str | None
    at: datetime
    replays: int


def letter(
    record: Record,
    error: VeristreamError,
    *,
    stage: str,
    attempts: int,
    model_digest: str | None,
    topic: str,
    at: datetime | None = None,
) -> Outgoing:
    """Writes a dead letter.

    Args:
        record: What could not be judged.
        error: Why not.
        stage: Where in the pipeline, such as ``decode``.
        attempts: How often it was tried.
        model_digest: The model at work, if any.
        topic: The dead-letter topic to send to.
        at: When; now unless given.
    """
    added = {
        "dlq_error": type(error).__name__,
        "dlq_what": error.what,
        "dlq_where": error.where or record.place,
        "dlq_why": _why(error),
        "dlq_remedy": error.remedy,
        "dlq_stage": stage,
        "dlq_attempts": str(attempts),
        "dlq_topic": record.topic,
        "dlq_partition": str(record.partition),
        "dlq_offset": str(record.offset),
        "dlq_model": model_digest or "",
        "dlq_at": format_time(at or datetime.now(UTC)),
        _REPLAYS: str(_replays(record)),
    }
    headers = tuple((name, text[:_LONGEST].encode(errors="replace")) for name, text in added.items())
    return Outgoing(topic, record.key, record.value, (*_original(record), *headers))


def read(record: Record) -> DeadLetter:
    """Reads a dead letter.

    Raises:
        MalformedEvent: The record lacks a letter's headers, or they cannot be read.
    """
    headers = record.header_map
    try:
        return DeadLetter(
            record=record,
            error=headers["dlq_error"].decode(),
            what=headers["dlq_what"].decode(),
            where=headers["dlq_where"].decode(),
            why=headers["dlq_why"].decode(),
            remedy=headers["dlq_remedy"].decode(),
            stage=headers["dlq_stage"].decode(),
            attempts=int(headers["dlq_attempts"]),
            topic=headers["dlq_topic"].decode(),
            partition=int(headers["dlq_partition"]),
            offset=int(headers["dlq_offset"]),
            model_digest=headers["dlq_model"].decode() or None,
            at=parse_time(headers["dlq_at"].decode(), where=record.place),
            replays=_replays(record),
        )
    except KeyError as error:
        what = f"no dead letter: the header {error.args[0]} is missing"
        raise MalformedEvent(what, where=record.place) from error
    except ValueError as error:
        raise MalformedEvent(f"no dead letter: {error}", where=record.place) from error


def replay(letter: DeadLetter) -> Outgoing:
    """The original record, for the topic it came from, with its replays counted in ``dlq_replays``."""
    count = (_REPLAYS, str(letter.replays + 1).encode())
    return Outgoing(letter.topic, letter.record.key, letter.record.value, (*_original(letter.record), count))


class Breaker:
    """Stops a worker whose records die in numbers: a bad deploy must not drain the topic into the dead letters.

    Opens when ``consecutive`` records in a row died, or when at least ``share`` of the last ``window`` records did; the
    share counts from a fifth of the window on, and never from fewer than 20 records unless the window is smaller, so
    that one bad upload after a restart stops nobody.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._fewest = min(settings.window, max(_FEWEST, settings.window // 5))
        self._window: deque[bool] = deque(maxlen=settings.window)
        self._dead = 0
        self._row = 0

    def ok(self) -> None:
        """Counts a record that was judged."""
        self._count(dead=False)

    def dead(self) -> None:
        """Counts a dead letter.

        Raises:
            BreakerOpen: Too many in a row or too large a share; stop before committing this letter.
        """
        self._count(dead=True)
        limits, seen = self._settings, len(self._window)
        if self._row >= limits.consecutive:
            reason = f"{self._row} records in a row were dead-lettered"
        elif seen >= self._fewest and self._dead >= limits.share * seen:
            reason = f"{self._dead} of the last {seen} records were dead-lettered"
        else:
            return
        raise BreakerOpen(
            reason,
            where="dead-letter breaker",
            remedy="Read the reasons with `veristream dlq list`; if the uploads are sound, roll the last change of "
            "worker or model back, then start again. VERISTREAM_WORKER__BREAKER__* sets the limits",
        )

    def _count(self, *, dead: bool) -> None:
        if len(self._window) == self._window.maxlen:
            self._dead -= self._window[0]
        self._window.append(dead)
        self._dead += dead
        self._row = self._row + 1 if dead else 0


def _original(record: Record) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value) for name, value in record.headers if not name.startswith(_RESERVED))


def _replays(record: Record) -> int:
    text = record.header_map.get(_REPLAYS, b"")
    return int(text) if text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004  a count nobody reaches honestly


def _why(error: VeristreamError) -> str:
    meaning = (type(error).__doc__ or "").partition("\n")[0]
    cause = error.__cause__
    return f"{meaning} {type(cause).__name__}: {cause}".strip() if cause is not None else meaning
