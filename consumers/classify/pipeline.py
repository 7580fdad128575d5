"""The worker's work: fetching, decoding, inferring and saying overlap in one process around one copy of each model.

    accept ─▶ intake ─┬─ inline ────────────────┬─ seen before ───────────────────────────────────┐
                ▲     └─ claim ─▶ fetching pool ┴─ new ─▶ decoding pool ─▶ batcher ─▶ device ─┬───┴▶ saying ─▶ complete
                └──── the challenger failed: the champion's turn ─────────────────────────────┴ shadow ┘

Every box is a thread or a pool, every arrow a queue; decoders and the model release the GIL. What is in flight is
bounded at the door by the loop (records and bytes), behind claim checks by `ByteBudget`, before the device by the
batcher. One thread does all the saying, so the breaker sees outcomes in one order. Look-ups and stores of seen
pictures are batched, and neither ever runs in the polling thread. A challenger or a shadow that fails costs no verdict.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import groupby

from consumers.classify import inference
from consumers.classify.attempts import foreseen
from consumers.classify.batcher import Batcher
from consumers.classify.conclusion import Conclusion, Reached
from consumers.classify.fetch import ByteBudget, Fetcher
from consumers.classify.inbox import Inbox
from consumers.classify.inference import Casualty
from consumers.classify.memory import Memory
from consumers.classify.prepare import prepare
from consumers.classify.shadow import Shadow
from consumers.classify.slots import Model, ModelSlots, Turn
from consumers.classify.stages import Arrival, Failed, Fetched, Judged, Prepared
from models.decode import DecodeLimits
from stream import uploads
from stream.errors import ImageError, VeristreamError
from stream.events import Arm, ImageClaim
from stream.ports import BlobStore, Clock
from stream.records import Partition, Record
from stream.settings import Settings
from stream.telemetry import Metrics
from stream.uploads import Upload

_FETCHES = 8
_TOGETHER = 64


class Pipeline:
    """Answers uploads; a `stream.loop.Handler`.

    Every accepted record is answered exactly once with a verdict and an embedding, or with one dead letter; except
    when the worker stops first or its partition goes to another worker, who will answer it.

    Args:
        settings: Limits and pool sizes.
        slots: The models.
        batcher: What feeds the device.
        store: Where claim checks point.
        memory: What was judged before.
        metrics: Who counts.
        clock: Time.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        slots: ModelSlots,
        batcher: Batcher[Prepared],
        store: BlobStore,
        memory: Memory,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._slots = slots
        self._batcher = batcher
        self._memory = memory
        self._metrics = metrics
        self._clock = clock
        self._limits = DecodeLimits(max_bytes=settings.images.max_bytes, max_pixels=settings.images.max_pixels)
        self._stopping = threading.Event()
        self._fetcher = Fetcher(store, limit=settings.images.max_bytes, stopping=self._stopping)
        self._budget = ByteBudget(settings.worker.max_in_flight_bytes)
        self._tenures: Counter[Partition] = Counter()
        self._arrived: Inbox[Arrival | Fetched] = Inbox()
        self._reached: Inbox[Reached] = Inbox()
        patience_s = settings.worker.shadow_patience_ms / 1000
        self._shadow = Shadow(patience_s=patience_s, answered=self._reached.put, metrics=metrics)
        self._fetching = ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch")
        self._decoding = ThreadPoolExecutor(settings.worker.decode_threads, thread_name_prefix="decode")
        self._threads: list[threading.Thread] = []

    def start(self, conclusion: Conclusion, fail: Callable[[VeristreamError], None]) -> None:
        """Begins to work.

        Args:
            conclusion: Who answers the uploads.
            fail: Called when a thread of the pipeline cannot go on.
        """
        self._memory.start()
        stages = (
            ("intake", self._intake),
            ("device", self._device),
            ("shadow", self._shadow.listen),
            ("saying", partial(self._say, conclusion)),
        )
        for name, stage in stages:
            thread = threading.Thread(target=_guarded, args=(name, stage, fail), name=name)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Ends every thread; what is still in hand stays unanswered."""
        self._stopping.set()
        self._budget.close()
        self._batcher.close()
        self._arrived.close()
        self._reached.close()
        self._shadow.close()
        for thread in self._threads:
            thread.join()
        for pool in (self._fetching, self._decoding):
            pool.shutdown(cancel_futures=True)
        self._memory.close()

    def accept(self, records: Sequence[Record]) -> None:
        """Takes records over from the polling thread."""
        now = self._clock.monotonic()
        for topic, count in Counter(record.topic for record in records).items():
            self._metrics.consumed(topic, count)
        for record in records:
            self._arrived.put(Arrival(record, now, self._tenures[record.tp]))

    def forget(self, partitions: Sequence[Partition]) -> None:
        """Drops what still queues for partitions that went to another worker."""
        self._tenures.update(partitions)

    def _intake(self) -> None:
        for together in self._arrived.batches(_TOGETHER):
            fetched = [self._admit(item) if isinstance(item, Arrival) else item for item in together]
            self._recall([item for item in fetched if item is not None])

    def _admit(self, arrival: Arrival) -> Fetched | None:
        """Reads the event; the picture's bytes may have come with it, or are sent for."""
        if self._is_stale(arrival):
            return None
        try:
            with foreseen("reading the event", arrival.record.place):
                upload = uploads.decode(arrival.record)
        except VeristreamError as error:
            self._fail(arrival, error, "event")
            return None
        if isinstance(upload.content, ImageClaim):
            self._fetching.submit(self._fetch, arrival, upload, upload.content)
            return None
        return Fetched.inline(arrival, upload, upload.content)

    def _fetch(self, arrival: Arrival, upload: Upload, claim: ImageClaim) -> None:
        held = min(claim.size, self._limits.max_bytes)
        self._budget.acquire(held)
        begun = time.perf_counter()
        data: bytes | None = None
        try:
            if not self._is_stale(arrival):
                with foreseen("fetching", arrival.record.place):
                    data = self._fetcher.fetch(claim)
        except VeristreamError as error:
            self._fail(arrival, error, "fetch")
        if data is None:
            self._budget.release(held)
            return
        fetch_ms = (time.perf_counter() - begun) * 1000
        self._arrived.put(Fetched(arrival, upload, data, claim.sha256, fetch_ms, held))

    def _recall(self, together: Sequence[Fetched]) -> None:
        """Answers what those who are asked have judged before; sends the rest to be decoded."""
        if not together:
            return
        lineup = self._slots.lineup
        asked = [(item, lineup.turn(item.upload.id, trials=not item.arrival.fallback)) for item in together]
        for (fetched, turn), known in zip(asked, self._memory.recall(asked), strict=True):
            if known is None:
                self._decoding.submit(self._decode, fetched, turn)
            else:
                self._budget.release(fetched.held)
                self._reached.put(known)

    def _decode(self, fetched: Fetched, turn: Turn) -> None:
        arrival = fetched.arrival
        try:
            if self._stopping.is_set() or self._is_stale(arrival):
                return
            with foreseen("decoding", arrival.record.place):
                prepared = prepare(fetched, turn, self._shadow, self._limits)
        except VeristreamError as error:
            self._fail(arrival, error, "decode", (turn.speaker, turn.arm))
        else:
            self._batcher.put(prepared, arrival.at)
        finally:
            self._budget.release(fetched.held)

    def _device(self) -> None:
        while batch := self._batcher.take():
            # With a challenger, and after a swap, a batch holds pictures of several models; each is judged by its own.
            batch.sort(key=lambda each: each.arm == "challenger")
            for (model, arm), pictures in groupby(batch, key=lambda each: (each.model, each.arm)):
                self._judge(model, arm, list(pictures))

    def _judge(self, model: Model, arm: Arm, batch: Sequence[Prepared]) -> None:
        def predict(pictures: Sequence[Prepared]) -> list[Judged]:
            begun = time.perf_counter()
            scores = model.scorer.predict([picture.crops for picture in pictures])
            seconds = time.perf_counter() - begun
            self._batcher.observe(len(pictures), seconds)
            self._metrics.batch(len(pictures))
            self._metrics.inferred(arm, seconds)
            each_ms = seconds * 1000 / len(pictures)
            return [Judged(p, score, seconds * 1000, each_ms) for p, score in zip(pictures, scores, strict=True)]

        for outcome in inference.run(predict, batch, where=model.ref.digest):
            if isinstance(outcome, Casualty):
                self._fail(outcome.item.arrival, outcome.error, "infer", (model, arm), outcome.attempts)
            elif (sitting := outcome.prepared.sitting) is not None:
                self._shadow.ask(outcome, sitting)
            else:
                self._reached.put(outcome)

    def _say(self, conclusion: Conclusion) -> None:
        for together in self._reached.batches(_TOGETHER):
            for reached in together:
                conclusion.reach(reached)

    def _fail(
        self,
        arrival: Arrival,
        error: VeristreamError,
        stage: str,
        judge: tuple[Model, Arm] | None = None,
        attempts: int = 1,
    ) -> None:
        if judge is not None and not isinstance(error, ImageError):
            model, arm = judge
            self._metrics.model_failed(arm, error)
            if arm == "challenger":
                # On trial it may cost time, but no upload its verdict.
                self._arrived.put(replace(arrival, fallback=f"{model.ref.digest} failed: {error.what}"))
                return
        self._reached.put(Failed(arrival.record, error, stage, attempts, judge[0].ref.digest if judge else None))

    def _is_stale(self, arrival: Arrival) -> bool:
        return self._tenures[arrival.record.tp] != arrival.tenure


def _guarded(name: str, stage: Callable[[], None], fail: Callable[[VeristreamError], None]) -> None:
    # A thread that died in silence would leave a worker that polls for ever and answers nothing.
    try:
        with foreseen(name, "classify worker"):
            stage()
    except VeristreamError as error:
        fail(error)
