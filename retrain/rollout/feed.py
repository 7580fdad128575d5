"""What a trial sees: verdicts, the shadow's opinions and labels from the time it began, read in no group.

Nothing is remembered of a trial but the topics: after a restart they are read again from the trial's beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retrain.rollout.trial import Trial
from stream import messages
from stream.errors import VeristreamError
from stream.events import Label, ShadowVerdict, Verdict
from stream.records import Record
from stream.settings import Settings
from stream.tail import KafkaTail
from stream.topics import Plain, layout

_ROUNDS = 20


class TrialFeed:
    """Feeds one trial. For one thread.

    Args:
        settings: How to reach Kafka, and how topics are named.
        trial: What is fed.
        client_id: Name in the broker's logs.
        refused: Told of records that cannot be read.
    """

    def __init__(
        self, settings: Settings, trial: Trial, *, client_id: str, refused: Callable[[VeristreamError], None]
    ) -> None:
        topics, since = layout(settings.topics), trial.since.timestamp()
        self._refused = refused
        self._take: dict[Plain, Callable[[Record], None]] = {
            "verdicts.shadow": lambda record: trial.see_shadow(messages.decode(record, ShadowVerdict)),
            "verdicts": lambda record: trial.see_verdict(messages.decode(record, Verdict)),
            "feedback": lambda record: trial.see_label(messages.decode(record, Label)),
        }
        self._tails = {
            plain: KafkaTail(settings.kafka, topics[plain].name, client_id=f"{client_id}-{plain}", since=since)
            for plain in self._take
        }

    @property
    def caught_up(self) -> bool:
        """Whether all that was there when the trial was taken up has been seen."""
        return all(tail.caught_up for tail in self._tails.values())

    def poll(self) -> int:
        """Takes in what is ready; returns how many records that were.

        Raises:
            BrokerError: A failure that waiting does not mend.
        """
        taken = 0
        for plain, tail in self._tails.items():
            for _ in range(_ROUNDS):
                records: Sequence[Record] = tail.poll(0)
                for record in records:
                    self._see(plain, record)
                taken += len(records)
                if not records:
                    break
        return taken

    def close(self) -> None:
        """Lets go of the connections."""
        for tail in self._tails.values():
            tail.close()

    def _see(self, plain: Plain, record: Record) -> None:
        try:
            self._take[plain](record)
        except VeristreamError as error:
            self._refused(error)
