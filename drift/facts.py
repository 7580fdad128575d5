"""What was said of recent uploads, kept to be looked up: for labels that arrive later, and for pictures of suspects."""

from collections import OrderedDict
from datetime import datetime
from typing import NamedTuple

from stream.events import Arm, Position, Verdict, VerdictName


class Fact(NamedTuple):
    """The part of a verdict that is asked for again."""

    model_digest: str
    arm: Arm
    tenant: str
    verdict: VerdictName
    p_ai: float
    upload_at: Position | None
    decided_at: datetime


class Facts:
    """The most recent verdicts by upload id.

    Args:
        most: How many are kept; a label for an older upload counts as one for an unknown upload.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._facts: OrderedDict[str, Fact] = OrderedDict()

    def __len__(self) -> int:
        return len(self._facts)

    def remember(self, verdict: Verdict) -> None:
        """Keeps a verdict, and forgets the oldest where there are too many."""
        self._facts[verdict.upload_id] = Fact(
            verdict.model.digest,
            verdict.arm,
            verdict.tenant,
            verdict.verdict,
            verdict.p_ai,
            verdict.upload_at,
            verdict.decided_at,
        )
        if len(self._facts) > self._most:
            self._facts.popitem(last=False)

    def find(self, upload_id: str) -> Fact | None:
        """What was said of an upload, if that is remembered."""
        return self._facts.get(upload_id)
