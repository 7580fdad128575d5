"""Verdict shares by model, tenant and hour, as a Faust table.

The table's changelog is a compacted topic, `changelog`, with as many partitions as `verdicts`; after a restart Faust
reads it back. Every number belongs to one partition of `verdicts` and is kept beside the offset it reaches to, so that
a verdict that is read again is not counted again. Hours that are too old are deleted, in the table and in the topic.

With several instances each holds, and shows, the verdicts of its own partitions only; the view of all is the sum. One
instance is what is supported, since the windows of `drift.windows` need all embeddings in one place.
"""

from collections import defaultdict
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from stream.events import Verdict, VerdictName
from stream.settings import Settings
from stream.topics import Topic, layout

TABLE = "verdict-shares"
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)

_OFFSET = "offset"
_BETWEEN = "\0"
_HOUR = "%Y-%m-%dT%H:00Z"


def group(settings: Settings) -> str:
    """Faust's consumer group; prefixed like the topics, since it names the changelog as well."""
    return settings.topics.prefix + settings.drift.group


def changelog(settings: Settings) -> tuple[str, Topic]:
    """The topic behind the table, and the topic whose partitions it must match."""
    return f"{group(settings)}-{TABLE}-changelog", layout(settings.topics)["verdicts"]


@dataclass(frozen=True, slots=True)
class Share:
    """How many verdicts of each kind one model gave one tenant in one hour.

    Attributes:
        model_digest: Which model.
        tenant: Whose uploads.
        hour: Its beginning in UTC.
        counts: Verdicts by name.
    """

    model_digest: str
    tenant: str
    hour: str
    counts: dict[VerdictName, int]

    def as_json(self) -> dict[str, Any]:
        """For machines: the counts and what share of all each is."""
        total = sum(self.counts.values())
        shares = {name: round(count / total, 4) for name, count in self.counts.items()} if total else {}
        return {
            "model": self.model_digest, "tenant": self.tenant, "hour": self.hour, "verdicts": total,
            "counts": self.counts, "shares": shares,
        }  # fmt: skip


class Rollups:
    """Counts verdicts in a table.

    Args:
        table: A Faust table of dictionaries by text, or a dictionary.
        hours: How many hours are kept.
    """

    def __init__(self, table: MutableMapping[str, dict[str, int]], hours: int) -> None:
        self._table = table
        self._hours = hours
        self._swept: dict[int, str] = {}

    def count(self, verdict: Verdict, partition: int, offset: int) -> bool:
        """Counts a verdict; returns False for one that was counted before. Call it where the verdict is read."""
        at = verdict.decided_at.astimezone(UTC)
        hour = at.strftime(_HOUR)
        key = _BETWEEN.join((str(partition), verdict.model.digest, hour, verdict.tenant))
        found = self._table.get(key) or {}
        if offset < found.get(_OFFSET, 0):
            return False
        # A new dictionary, since the table notices only what is put into it.
        self._table[key] = {**found, verdict.verdict: found.get(verdict.verdict, 0) + 1, _OFFSET: offset + 1}
        if self._swept.get(partition, "") < hour:
            self._swept[partition] = hour
            self._sweep(partition, (at - timedelta(hours=self._hours)).strftime(_HOUR))
        return True

    def shares(self) -> list[Share]:
        """Everything that is kept, newest hour first."""
        sums: defaultdict[tuple[str, str, str], dict[VerdictName, int]] = defaultdict(
            lambda: dict.fromkeys(VERDICTS, 0)
        )
        for (_, digest, hour, tenant), counts in self._rows():
            for name in VERDICTS:
                sums[hour, digest, tenant][name] += counts.get(name, 0)
        ordered = sorted(sums.items(), key=lambda item: item[0], reverse=True)
        return [Share(digest, tenant, hour, counts) for (hour, digest, tenant), counts in ordered]

    def latest(self, now: datetime) -> dict[str, dict[VerdictName, int]]:
        """This hour's counts by model, all tenants together."""
        hour = now.astimezone(UTC).strftime(_HOUR)
        sums: defaultdict[str, dict[VerdictName, int]] = defaultdict(lambda: dict.fromkeys(VERDICTS, 0))
        for share in self.shares():
            if share.hour == hour:
                for name, count in share.counts.items():
                    sums[share.model_digest][name] += count
        return dict(sums)

    def _sweep(self, partition: int, oldest: str) -> None:
        """Deletes one partition's hours before ``oldest``: the change goes to the partition that is being read."""
        old = [row for row, _ in self._rows() if row[0] == str(partition) and row[2] < oldest]
        for row in old:
            del self._table[_BETWEEN.join(row)]

    def _rows(self) -> Iterator[tuple[tuple[str, ...], dict[str, int]]]:
        for key, counts in list(self._table.items()):
            yield tuple(key.split(_BETWEEN, 3)), counts
