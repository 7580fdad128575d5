"""What is known of every upload: its verdict and every label, in one SQLite file.

The topics `verdicts` and `feedback` are the record; the file is a view of them that can be deleted. Each batch is
stored together with the offsets that come after it, so that nothing is counted twice and nothing is skipped, whatever
ends the process. A label that comes before its verdict waits for it. Everything older than the retention is forgotten.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from retrain.labels import Opinion, Origin
from stream import messages
from stream.errors import ConfigurationError, ContractError
from stream.events import Arm, ImageClaim, Label, Position, TruthName, Verdict, VerdictName
from stream.records import Partition, Record

_SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    upload_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, model TEXT NOT NULL, arm TEXT NOT NULL, p_ai REAL NOT NULL,
    verdict TEXT NOT NULL, topic TEXT, partition INTEGER, "offset" INTEGER, decided_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uploads_by_model ON uploads (model, decided_at);
CREATE INDEX IF NOT EXISTS uploads_by_time ON uploads (decided_at);
CREATE TABLE IF NOT EXISTS labels (
    upload_id TEXT NOT NULL, reviewer TEXT NOT NULL, origin TEXT NOT NULL, at INTEGER NOT NULL, label TEXT NOT NULL,
    PRIMARY KEY (upload_id, reviewer, origin, at, label)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS labels_by_time ON labels (at);
CREATE TABLE IF NOT EXISTS kept (upload_id TEXT PRIMARY KEY, claim TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
"""
_CASES = """
SELECT u.upload_id, u.tenant, u.model, u.arm, u.p_ai, u.verdict, u.topic, u.partition, u."offset", u.decided_at,
       json_group_array(json_array(l.label, l.origin, l.reviewer, l.at)), k.claim
FROM uploads u JOIN labels l ON l.upload_id = u.upload_id LEFT JOIN kept k ON k.upload_id = u.upload_id
WHERE (:model IS NULL OR u.model = :model) AND u.decided_at >= :since AND u.decided_at < :until
GROUP BY u.upload_id ORDER BY u.decided_at DESC, u.upload_id
"""
_UNKEPT = """
SELECT u.upload_id, u.topic, u.partition, u."offset" FROM uploads u LEFT JOIN kept k ON k.upload_id = u.upload_id
WHERE k.upload_id IS NULL AND u.topic IS NOT NULL AND u.decided_at < :before
      AND EXISTS (SELECT 1 FROM labels l WHERE l.upload_id = u.upload_id)
ORDER BY u.decided_at LIMIT :most
"""
_FOR_EVER = 1e300
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled upload: what the model said and what people said. Times in seconds since the epoch.

    ``kept`` is the claim check of the picture's copy, where `retrain.keeping` made one.
    """

    upload_id: str
    tenant: str
    model_digest: str
    arm: Arm
    p_ai: float
    verdict: VerdictName
    upload_at: Position | None
    decided_at: float
    opinions: tuple[Opinion, ...]
    kept: ImageClaim | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Labelled uploads: how many in all, and labels by what they say, by origin and by reviewer."""

    uploads: int
    by_label: Mapping[TruthName, int]
    by_origin: Mapping[Origin, int]
    by_reviewer: Mapping[str, int]


class Ledger:
    """The view. Thread-safe; made with `open`."""

    def __init__(self, connection: sqlite3.Connection, *, retention_s: float) -> None:
        self._db = connection
        self._lock = threading.RLock()
        self._retention_s = retention_s
        self.refused: Counter[str] = Counter()
        with self._transaction():
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._db.execute(statement)

    @classmethod
    def open(cls, path: Path, *, retention_s: float) -> Self:
        """Opens the file, or makes it.

        Raises:
            ConfigurationError: The folder cannot be written, or the file is no ledger.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Commits by hand, one a batch; a batch lost with the machine is read again from the topics.
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            return cls(connection, retention_s=retention_s)
        except (OSError, sqlite3.Error) as error:
            remedy = "VERISTREAM_RETRAIN__FOLDER must be writable; the file can be deleted, it is made again"
            raise ConfigurationError(f"the ledger cannot be opened: {error}", where=str(path), remedy=remedy) from error

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()

    def take(self, records: Sequence[Record]) -> list[tuple[Record, ContractError]]:
        """Takes records of `verdicts` and `feedback` in, with the offsets behind them, all or nothing.

        Records that are neither verdict nor label are counted in ``refused`` by error class and returned, for the
        dead-letter topic; the offsets pass them.
        """
        verdicts: list[Verdict] = []
        labels: list[Label] = []
        bad: list[tuple[Record, ContractError]] = []
        for record in records:
            try:
                if record.header_map.get("ce_type", b"").decode(errors="replace") == messages.TYPES[Label]:
                    labels.append(messages.decode(record, Label))
                else:
                    verdicts.append(messages.decode(record, Verdict))
            except ContractError as error:
                self.refused[type(error).__name__] += 1
                bad.append((record, error))
        ends: dict[Partition, int] = {}
        for record in records:
            ends[record.tp] = max(ends.get(record.tp, 0), record.offset + 1)
        with self._transaction():
            self._store(verdicts, labels)
            self._db.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", [(*tp, end) for tp, end in ends.items()]
            )
        return bad

    def add(self, verdicts: Sequence[Verdict] = (), labels: Sequence[Label] = ()) -> None:
        """Stores verdicts and labels, all or none; what is there already stays one."""
        with self._transaction():
            self._store(verdicts, labels)

    def positions(self) -> dict[Partition, int]:
        """The next offset to take of every partition that `take` has seen."""
        rows = self._rows("SELECT topic, partition, next FROM positions")
        return {Partition(topic, number): offset for topic, number, offset in rows}

    def labelled(
        self, model_digest: str | None = None, *, since: float = 0.0, until: float = _FOR_EVER
    ) -> Iterator[Case]:
        """Uploads that have a verdict and a label, decided in a time, the newest first.

        Args:
            model_digest: Judged by this model; by any where None.
            since: Decided at or after, seconds since the epoch.
            until: Decided before.
        """
        rows = self._rows(_CASES, {"model": model_digest, "since": since, "until": until})
        for row in rows:
            yield _case(row)

    def counts(self, model_digest: str | None = None, *, since: float = 0.0, until: float = _FOR_EVER) -> Counts:
        """How many labels there are; arguments as in `labelled`."""
        uploads = 0
        labels: Counter[TruthName] = Counter()
        origins: Counter[Origin] = Counter()
        reviewers: Counter[str] = Counter()
        for case in self.labelled(model_digest, since=since, until=until):
            uploads += 1
            labels.update(opinion.label for opinion in case.opinions)
            origins.update(opinion.origin for opinion in case.opinions)
            reviewers.update(opinion.reviewer for opinion in case.opinions)
        return Counts(uploads, dict(labels), dict(origins), dict(reviewers))

    def unkept(self, *, before: float, most: int) -> dict[str, Position]:
        """Labelled uploads whose pictures have no copy yet and were not found gone: ids and places, the oldest first.

        Args:
            before: Decided before, seconds since the epoch.
            most: How many.
        """
        rows = self._rows(_UNKEPT, {"before": before, "most": most})
        return {row[0]: Position(topic=row[1], partition=row[2], offset=row[3]) for row in rows}

    def keep(self, copies: Mapping[str, ImageClaim | None]) -> None:
        """Notes where copies of pictures lie, by upload id; None where a picture is gone."""
        rows = [(upload_id, claim and claim.to_json().decode()) for upload_id, claim in copies.items()]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", rows)

    def waiting(self) -> int:
        """Labels whose upload has no verdict yet."""
        query = "SELECT count(*) FROM labels WHERE upload_id NOT IN (SELECT upload_id FROM uploads)"
        return int(self._rows(query)[0][0])

    def forget(self, now: float) -> int:
        """Removes verdicts and labels that are older than the retention.

        A label of a verdict that stays is kept, however old; a label that still waits for its verdict is not.

        Returns:
            How many rows went.
        """
        oldest = now - self._retention_s
        with self._transaction():
            before = self._db.total_changes
            self._db.execute("DELETE FROM uploads WHERE decided_at < ?", (oldest,))
            self._db.execute(
                "DELETE FROM labels WHERE at < ? AND upload_id NOT IN (SELECT upload_id FROM uploads)",
                (oldest * _MICROSECONDS,),
            )
            self._db.execute("DELETE FROM kept WHERE upload_id NOT IN (SELECT upload_id FROM uploads)")
            return self._db.total_changes - before

    def _store(self, verdicts: Sequence[Verdict], labels: Sequence[Label]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [_row(one) for one in verdicts]
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO labels VALUES (?, ?, ?, ?, ?)",
            [(one.upload_id, one.reviewer, one.origin, _microseconds(one), one.label) for one in labels],
        )

    def _rows(self, query: str, given: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, given or {}).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _case(row: tuple[Any, ...]) -> Case:
    upload_id, tenant, model, arm, p_ai, verdict, topic, partition, offset, decided_at, said, claim = row
    at = None if topic is None else Position(topic=topic, partition=partition, offset=offset)
    opinions = [
        Opinion(upload_id, label, origin, reviewer, given / _MICROSECONDS)
        for label, origin, reviewer, given in json.loads(said)
    ]
    opinions.sort(key=lambda opinion: (opinion.at, opinion.reviewer, opinion.origin, opinion.label))
    kept = None if claim is None else ImageClaim.from_json(claim.encode())
    return Case(upload_id, tenant, model, arm, p_ai, verdict, at, decided_at, tuple(opinions), kept)


def _microseconds(label: Label) -> int:
    return round(label.at.timestamp() * _MICROSECONDS)


def _row(verdict: Verdict) -> tuple[str | float | int | None, ...]:
    at = verdict.upload_at
    place = (at.topic, at.partition, at.offset) if at else (None, None, None)
    return (
        verdict.upload_id, verdict.tenant, verdict.model.digest, verdict.arm, verdict.p_ai, verdict.verdict, *place,
        verdict.decided_at.timestamp(),
    )  # fmt: skip
