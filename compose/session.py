"""A whole Veristream on this machine for a while: services, one worker process, traffic, and the ledger of both ends.

The demo and the stress test both run on it, so that what one shows is what the other measures.
"""

import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compose.claims import PassingBlobs
from compose.companions import READY_LINE
from compose.embedded.processes import ChildProcess, veristream_command
from compose.interrupts import held
from compose.loop import Loop
from compose.memory import MemoryCourse, resident_mib
from compose.meter import Meter
from compose.opened import Opened
from compose.reader import OutcomeReader
from compose.scrape import WorkerMetrics, scrape
from compose.services import Services, open_services
from compose.snapshot import WorkerState
from compose.story import Story
from compose.variables import environment
from producers.packing import Packer
from producers.traffic.generator import RunSummary, TrafficGenerator
from producers.traffic.moderators import Moderation, Moderators
from producers.traffic.pictures import Pictures
from producers.traffic.plan import Planned
from producers.upload import UploadProducer
from stream.blobs import open_store
from stream.clock import SystemClock
from stream.errors import VeristreamError
from stream.events import Truth
from stream.kafka import KafkaProducer
from stream.settings import Settings
from stream.topics import layout

_READY_S = 60.0
_FLUSH_S = 2.0
_HOLD_S = 1.0
# With the loop, pictures must outlive their verdicts: labels come later, and jobs and reports read what was labelled.
_KEPT, _KEPT_FOR_THE_LOOP = 500, 6000
WORKER_ID = "session-worker"


@dataclass(frozen=True, slots=True)
class Ready:
    """What the worker said when it was ready."""

    bundle_name: str
    bundle_digest: str
    provider: str


class Traffic:
    """A plan being played in a thread of its own.

    Args:
        play: Sends until its event is set or there is no more to send.
    """

    def __init__(self, play: Callable[[threading.Event], RunSummary]) -> None:
        self._stop = threading.Event()
        thread = ThreadPoolExecutor(1, thread_name_prefix="traffic")
        self._playing = thread.submit(play, self._stop)
        thread.shutdown(wait=False)

    @property
    def playing(self) -> bool:
        """Whether uploads are still being sent."""
        return not self._playing.done()

    def finish(self) -> RunSummary:
        """Waits for the end of the plan and returns what was sent.

        Raises:
            VeristreamError: Why sending ended early.
        """
        return self._playing.result()

    def stop(self) -> None:
        """Ends it within a moment; `finish` tells how it went."""
        self._stop.set()
        wait([self._playing])


class Session(Opened):
    """Services, topics, a worker and the reader of its verdicts, for as long as the ``with`` block lasts.

    Everything it makes lies in one temporary folder, and everything it starts ends with the block, within a few
    seconds; if this process is killed, the children are gone all the same (see `compose.embedded.processes`).

    Args:
        broker: ``embedded``, ``kafka`` or ``HOST:PORT``.
        settings: What the session does not decide for itself stays as it is.
        inline_limit: Bytes up to which a picture travels inside its event.
        on_step: Told in words what is being started.
        story: Told of the loop from drift to promotion; with it the drift monitor and the retraining coordinator run
            beside the worker.

    Raises:
        VeristreamError: Something did not come up; whatever did is stopped again.
    """

    def __init__(
        self,
        broker: str,
        settings: Settings,
        *,
        inline_limit: int,
        on_step: Callable[[str], None] | None = None,
        story: Story | None = None,
    ) -> None:
        self._broker = broker
        self._given = settings
        self._inline_limit = inline_limit
        self._on_step = on_step or (lambda _: None)
        self._metrics_port = _free_port()
        self._story = story
        self.loop: Loop | None = None
        self.meter = Meter() if story is None else Meter(listeners=[story])
        self.memory = MemoryCourse()
        self.state: WorkerState = "starting"
        self.restarts = 0

    def _open(self, stack: ExitStack) -> None:
        with held():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="veristream-session-")))
        self._on_step(f"starting the {self._broker} broker" if ":" not in self._broker else f"asking {self._broker}")
        self.services: Services = stack.enter_context(open_services(self._broker, self._given, folder))
        self.settings = self._settled(self.services.settings, folder)
        self._on_step("starting the worker")
        self._worker = stack.enter_context(self._worker_process(folder))
        begun = time.monotonic()
        with held():
            self._worker.start()
        if self._story is not None:
            self._on_step("starting the drift monitor and the retraining coordinator")
            self.loop = stack.enter_context(Loop(self.settings, self._story, folder))
        kept = _KEPT if self.loop is None else _KEPT_FOR_THE_LOOP
        self._blobs = PassingBlobs(open_store(self.settings.blobs), kept)
        self._reader = OutcomeReader(self.settings, lambda: self.meter, self._blobs.settled)
        stack.callback(self._reader.close)
        self._reader.start()
        self.ready = self._wait_ready()
        self.ready_s = time.monotonic() - begun
        if self.loop is not None:
            self.loop.begin(self.ready.bundle_digest)
        self._producer = KafkaProducer(self.settings.kafka, client_id="session")
        packer = Packer(self._blobs, self._inline_limit, self.settings.images.max_bytes)
        topic = layout(self.settings.topics)["uploads"].name
        self._uploads = UploadProducer(self._producer, packer, topic=topic)
        stack.callback(self._producer.close)

    def _settled(self, settings: Settings, folder: Path) -> Settings:
        """The settings for all: the worker keeps its partitions over a restart, and tells its metrics."""
        worker = settings.worker.model_copy(update={"id": WORKER_ID, "group": f"{WORKER_ID}-{self._metrics_port}"})
        return settings.model_copy(
            update={
                "kafka": settings.kafka.model_copy(update={"static_membership": True}),
                "worker": worker,
                "retrain": settings.retrain.model_copy(update={"folder": folder / "retrain"}),
                "telemetry": settings.telemetry.model_copy(update={"metrics_port": self._metrics_port}),
            }
        )

    def _worker_process(self, folder: Path) -> ChildProcess:
        return ChildProcess("worker", veristream_command("worker"), folder, env=environment(self.settings))

    def _wait_ready(self) -> Ready:
        line: dict[str, Any] = json.loads(self._worker.wait_for_line(READY_LINE, _READY_S).string)
        self.state = "ready"
        return Ready(line["bundle"]["name"], line["bundle"]["digest"], line["provider"])

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._worker.pid if self._worker.alive else None

    def sample_memory(self) -> None:
        """Looks at the memory of every process."""
        self.memory.sample(self.worker_pid)
        if self.loop is not None:
            self.loop.sample_memory()

    @property
    def worker_memory_mib(self) -> float | None:
        """Its resident memory now."""
        return resident_mib(self._worker.pid) if self._worker.alive else None

    def worker_metrics(self) -> WorkerMetrics | None:
        """Its metrics now; None while it does not answer."""
        return scrape(self._metrics_port)

    def play(
        self,
        plan: Iterable[Planned],
        pictures: Pictures,
        *,
        seed: int,
        outstanding: int,
        moderation: Moderation | None = None,
    ) -> Traffic:
        """Starts to send a plan's uploads; the session's meter counts them.

        Args:
            plan: What to send; see `producers.traffic.plan`.
            pictures: Where pictures come from.
            seed: Decides which pictures are drawn.
            outstanding: Uploads on their way at any time; while there are as many, the next one is held back.
            moderation: How simulated moderators label the uploads; None where nobody does.
        """
        topics = layout(self.settings.topics)
        truth_topic, clock = topics["truth"].name, SystemClock()
        generator = TrafficGenerator(
            self._uploads, self._producer, pictures, truth_topic=truth_topic, seed=seed, clock=clock
        )
        moderators = None
        if moderation is not None:
            feedback = topics["feedback"].name
            moderators = Moderators(moderation, self._producer, topic=feedback, seed=seed, clock=clock)
        meter = self.meter

        def play(stop: threading.Event) -> RunSummary:
            def told(truth: Truth) -> None:
                meter.sent(truth)
                if moderators is not None:
                    moderators.see(truth)
                while not (stop.is_set() or meter.wait_outstanding(outstanding - 1, _HOLD_S, stop.is_set)):
                    pass

            summary = generator.run(plan, stop=stop, on_truth=told, flush_s=_FLUSH_S)
            if moderators is not None:
                moderators.close(_FLUSH_S)
            return summary

        return Traffic(play)

    def kill_worker(self) -> None:
        """SIGKILL to the worker and, at once, a new one with the same id. Returns when the new one is ready."""
        self.state = "restarting"
        self.restarts += 1
        self._worker.kill()
        self._worker.start()
        self._wait_ready()

    def check(self) -> None:
        """Raises what stopped one of the processes or readers, if anything did.

        Raises:
            VeristreamError: With the process's last words.
        """
        self._reader.check()
        if self.loop is not None:
            self.loop.check()
        if not self._worker.alive:
            self.state = "stopped"
            what = f"the worker ended by itself with exit status {self._worker.exit_code}"
            raise VeristreamError(what, where="worker", remedy=f"Its last words:\n{self._worker.tail()}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
