"""Keeps the ledger up with its topics: reads verdicts and labels from where the ledger stands, in no group.

The ledger holds the offsets itself, stored together with what was read, so a crash repeats nothing and loses nothing; a
ledger that was deleted is made again from the topics' beginnings.
"""

from __future__ import annotations

from retrain.ledger import Ledger
from stream.errors import ContractError
from stream.records import Record
from stream.settings import KafkaSettings
from stream.tail import KafkaTail

# A ledger that is made again has millions of records to take, and the coordinator reads only now and then.
_ROUNDS = 10


class Intake:
    """Reads `verdicts` and `feedback` into a ledger. For one thread.

    A topic that is not there yet counts as empty and is looked for again; a broker that is away is waited for. Offsets
    that retention has overtaken mean: from the oldest that is left.

    Args:
        settings: How to reach Kafka.
        ledger: Where to.
        topics: Their names on the broker.
        client_id: Name in the broker's logs.
    """

    def __init__(self, settings: KafkaSettings, ledger: Ledger, topics: tuple[str, ...], *, client_id: str) -> None:
        self._ledger = ledger
        starts = ledger.positions()
        self._tails = [KafkaTail(settings, topic, client_id=f"{client_id}-{topic}", starts=starts) for topic in topics]

    @property
    def caught_up(self) -> bool:
        """Whether everything that was in the topics when they were found is in the ledger."""
        return all(tail.caught_up for tail in self._tails)

    def poll(self, timeout_s: float) -> list[tuple[Record, ContractError]]:
        """Takes in what is ready, waiting at most about ``timeout_s``, or a second for a broker that is away.

        Returns:
            Records that are neither verdict nor label, for the dead-letter topic; the ledger's offsets have passed
            them.

        Raises:
            BrokerError: A failure that waiting does not mend.
        """
        records: list[Record] = []
        for tail in self._tails:
            wait_s = timeout_s / len(self._tails)
            for _ in range(_ROUNDS):
                found = tail.poll(wait_s)
                if not found:
                    break
                records += found
                wait_s = 0.0
        return self._ledger.take(records) if records else []

    def close(self) -> None:
        """Lets go of the connections."""
        for tail in self._tails:
            tail.close()
