"""The classify worker, put together: settings in, a process that answers uploads until it is told to stop."""

import logging
import threading
from collections.abc import Callable

from consumers.classify.batcher import Batcher
from consumers.classify.batching import BatchPolicy
from consumers.classify.conclusion import Conclusion
from consumers.classify.hotswap import HotSwap
from consumers.classify.memory import Memory
from consumers.classify.outputs import Speaker
from consumers.classify.pipeline import Pipeline
from consumers.classify.slots import Model, ModelSlots, warmed_up
from consumers.classify.stages import Prepared
from models.bundle import Bundle
from models.classifier import Classifier
from models.ports import Scorer
from stream.blobs import open_store
from stream.clock import SystemClock
from stream.consumer import KafkaConsumer
from stream.deadletter import Breaker
from stream.events import ModelRef, Slot
from stream.kafka import KafkaProducer
from stream.loop import ConsumeLoop
from stream.ports import Committer
from stream.settings import KafkaSettings, Settings, TelemetrySettings, WorkerSettings
from stream.state import open_cache
from stream.tail import KafkaTail
from stream.telemetry import Metrics, serve_metrics
from stream.topics import layout
from stream.transactions import AtLeastOnce, ExactlyOnce

_log = logging.getLogger("veristream.worker")

_SETTLE_S = 10.0


class ClassifyWorker:
    """Reads uploads, answers each with a verdict and an embedding or with one dead letter. Make it with `build`.

    Delivery: with ``exactly_once`` an upload's answers and its offset are one Kafka transaction, so a read-committed
    reader sees them once, whatever is killed when. With ``at_least_once`` a crash may repeat answers. Nothing is
    ever skipped.
    """

    def __init__(
        self,
        settings: TelemetrySettings,
        *,
        metrics: Metrics,
        slots: ModelSlots,
        loop: ConsumeLoop,
        pipeline: Pipeline,
        conclusion: Conclusion,
        hotswap: HotSwap,
    ) -> None:
        self.metrics = metrics
        self._settings = settings
        self._slots = slots
        self._loop = loop
        self._pipeline = pipeline
        self._conclusion = conclusion
        self._hotswap = hotswap
        self._ready = threading.Event()

    @property
    def model(self) -> ModelRef:
        """The model that speaks for the uploads that no trial takes."""
        return self._slots.lineup.champion.ref

    def run(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        """Works until ``stop`` is set, then finishes and commits what is in hand.

        Args:
            stop: Set it to stop; from a signal handler, say.
            ready: Called once, when the model is warm and uploads are about to be read.

        Raises:
            BreakerOpen: Too many uploads were dead-lettered.
            VeristreamError: Something waiting does not mend, such as `WorkerFenced` or `OffsetsLost`.
        """
        server = serve_metrics(self._settings, self.metrics, self._ready.is_set)
        self._hotswap.start()
        try:
            if not self._hotswap.wait_settled(_SETTLE_S):
                _log.warning(
                    "the models topic was not read within %.0f s; starting on the configured bundle", _SETTLE_S
                )
            self._pipeline.start(self._conclusion, self._loop.fail)
            self._ready.set()
            self.metrics.ready(True)
            ready()
            self._loop.run(stop)
        finally:
            self._ready.clear()
            self.metrics.ready(False)
            self._pipeline.close()
            self._hotswap.close()
            if server is not None:
                server.close()


def build(settings: Settings, *, scorer: Scorer | None = None) -> ClassifyWorker:
    """Puts a worker together; nothing is read yet.

    Args:
        settings: All of them.
        scorer: The model to start with instead of the configured bundle's.

    Raises:
        ConfigurationError: A setting does not fit.
        ModelError: The bundle cannot be loaded.
    """
    metrics, clock, topics = Metrics(), SystemClock(), layout(settings.topics)
    store, memory = open_store(settings.blobs), Memory(open_cache(settings.redis, metrics))
    worker = settings.worker
    champion = warmed_up(scorer or load(Bundle.named(worker.bundle), worker))
    slots = ModelSlots(champion)
    batcher: Batcher[Prepared] = Batcher(BatchPolicy.of(worker, champion.scorer.max_batch), clock)

    def swapped(slot: Slot, model: Model | None) -> None:
        if slot == "champion" and model is not None:
            batcher.relearn(model.probes, BatchPolicy.of(worker, model.scorer.max_batch))
        metrics.model(slot, model.ref if model else None)

    swapped("champion", champion)
    pipeline = Pipeline(
        settings, slots=slots, batcher=batcher, store=store, memory=memory, metrics=metrics, clock=clock
    )
    consumer = KafkaConsumer(settings.kafka, group=worker.group, client_id=worker.id)
    loop = ConsumeLoop(
        consumer,
        _committer(settings.kafka, worker, consumer),
        pipeline,
        metrics,
        worker,
        topics=[topics["uploads"].name],
        backfill=[topics["uploads.backfill"].name],
    )
    conclusion = Conclusion(
        loop, Speaker(settings.topics, clock, worker_id=worker.id), Breaker(worker.breaker), memory, metrics
    )
    hotswap = HotSwap(
        KafkaTail(settings.kafka, topics["models"].name, client_id=worker.id),
        slots,
        store,
        load=lambda bundle: load(bundle, worker),
        swapped=swapped,
        metrics=metrics,
    )
    return ClassifyWorker(
        settings.telemetry,
        metrics=metrics,
        slots=slots,
        loop=loop,
        pipeline=pipeline,
        conclusion=conclusion,
        hotswap=hotswap,
    )


def load(bundle: Bundle, settings: WorkerSettings) -> Scorer:
    """Opens a bundle's model as the settings say, and where they say nothing as it was measured to be quickest."""
    return Classifier.load(bundle, provider=settings.provider, threads=settings.intra_op_threads)


def _committer(kafka: KafkaSettings, worker: WorkerSettings, consumer: KafkaConsumer) -> Committer:
    if worker.delivery == "exactly_once":
        return ExactlyOnce(kafka, transactional_id=f"{worker.group}-{worker.id}", consumer=consumer)
    return AtLeastOnce(KafkaProducer(kafka, client_id=worker.id), consumer)
