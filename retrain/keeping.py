"""Keeps the pictures of labelled uploads: the uploads themselves are gone within a day, a refresh comes in two weeks.

Only what a person labelled is copied, under the SHA-256 of its content in the blob store's folder ``labelled``. A job
that starts soon after its labels reads the uploads and needs no copy. `retrain.retention` deletes copies again.
"""

from __future__ import annotations

import hashlib
import logging
import threading

from retrain.ledger import Ledger
from retrain.pictures import Pictures
from retrain.retention import COPIES
from stream.errors import VeristreamError
from stream.events import ImageClaim
from stream.ports import BlobStore, Clock
from stream.settings import Settings

_log = logging.getLogger(__name__)

_TOGETHER = 200
_LOOK_AGAIN_S = 60.0


class Keeper:
    """Copies pictures, now and then.

    Args:
        settings: Of everything; how long after a verdict is ``retrain.keep_after_s``.
        store: Where uploads' claim checks point, and where copies go.
        ledger: Knows what is labelled and where copies lie.
        clock: Time.
    """

    def __init__(self, settings: Settings, store: BlobStore, ledger: Ledger, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._ledger = ledger
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Keeps pictures, and has the ledger forget what is too old, until ``stop`` is set.

        What fails is said and tried again.
        """
        after = self._settings.retrain.keep_after_s
        while not stop.wait(_LOOK_AGAIN_S):
            self._ledger.forget(self._clock.now())
            try:
                while after is not None and self.keep(before=self._clock.now() - after, stop=stop) == _TOGETHER:
                    pass
            except VeristreamError as error:
                _log.warning("labelled pictures are kept later: %s", error)

    def keep(self, *, before: float, stop: threading.Event | None = None) -> int:
        """Copies the pictures of some labelled uploads that were judged before a time, in seconds since the epoch.

        Returns:
            For how many it is known now where the picture lies, or that it is gone.

        Raises:
            BrokerError, BlobError: Uploads or pictures cannot be read, or copies not written, at present.
        """
        wanted = self._ledger.unkept(before=before, most=_TOGETHER)
        if not wanted:
            return 0
        reader = Pictures(self._settings.kafka, self._store, limit=self._settings.images.max_bytes, stopping=stop)
        copies: dict[str, ImageClaim | None] = dict.fromkeys(wanted)
        for found in reader.find(dict(wanted)):
            digest = hashlib.sha256(found.data).hexdigest()
            uri = self._store.write(f"{COPIES}/{digest}", found.data, media_type=found.media_type)
            copies[found.upload_id] = ImageClaim(
                uri=uri, sha256=digest, media_type=found.media_type, size=len(found.data)
            )
        self._ledger.keep(copies)
        return len(copies)
