"""The small parts that a session is made of."""

import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from compose.claims import PassingBlobs
from compose.interrupts import held, interruptible
from compose.memory import MemoryCourse, resident_mib
from compose.scrape import parse, scrape
from compose.variables import environment, variables
from stream.blobs import FolderBlobs
from stream.settings import Settings, load, names
from stream.telemetry import Metrics


class TestPassingBlobs:
    @pytest.fixture
    def blobs(self, tmp_path):
        return PassingBlobs(FolderBlobs((), tmp_path), kept=2)

    def write(self, blobs, digest):
        return blobs.write(f"uploads/{digest}", digest.encode(), media_type="image/jpeg")

    def there(self, uri):
        return Path(uri.removeprefix("file://")).exists()

    def test_a_picture_goes_once_enough_later_ones_are_settled(self, blobs):
        uri = self.write(blobs, "aa")
        assert blobs.read(uri, limit=10) == b"aa"
        for digest in ("aa", "bb", "cc"):
            assert self.there(uri)
            blobs.settled(digest)
        assert not self.there(uri)

    def test_a_shared_picture_stays_until_its_last_upload(self, blobs):
        uri = self.write(blobs, "aa")
        self.write(blobs, "aa")
        for digest in ("aa", "bb", "cc", "aa"):
            blobs.settled(digest)
        assert self.there(uri)
        for digest in ("bb", "cc"):
            blobs.settled(digest)
        assert not self.there(uri)

    def test_pictures_that_came_inline_are_no_matter(self, blobs, tmp_path):
        for number in range(5):
            blobs.settled(str(number))
        assert not list(tmp_path.iterdir())


class TestMemory:
    def test_this_process_has_some(self):
        assert resident_mib(os.getpid()) > 5

    def test_one_that_is_gone(self):
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            pass
        assert resident_mib(ended.pid) is None

    def test_the_course_keeps_the_first_the_largest_and_the_last(self, monkeypatch):
        seen = iter([5.0, 9.0, 7.0, None])
        monkeypatch.setattr("compose.memory.resident_mib", lambda _: next(seen))
        course = MemoryCourse()
        course.sample(None)
        for _ in range(4):
            course.sample(1)
        assert course.course == (5.0, 9.0, 7.0)


class TestScrape:
    def test_the_workers_own_metrics(self):
        metrics = Metrics()
        for size in (1, 2, 2, 7, 1000):
            metrics.batch(size)
        metrics.flow(records=3, size=10, lag=42, paused=False)
        found = parse(generate_latest(metrics.registry).decode())
        assert found.lag == 42
        assert dict(found.batches)[1.0] == 1
        assert dict(found.batches)[2.0] == 2
        assert dict(found.batches)[8.0] == 1
        assert found.batches[-1] == (float("inf"), 1)
        assert found.batch_mean == pytest.approx(1012 / 5)

    def test_a_worker_that_has_not_inferred_yet(self):
        assert parse(generate_latest(Metrics().registry).decode()).batch_mean is None

    def test_nobody_listens(self):
        assert scrape(1) is None

    def test_over_http(self):
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"veristream_consumer_lag_records 7\n")

            def log_message(self, *_):
                pass

        with HTTPServer(("127.0.0.1", 0), Answer) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            assert scrape(server.server_port).lag == 7
            thread.join()


class TestVariables:
    def test_every_setting_is_there_once(self):
        assert [entry.name for entry in variables(Settings())] == list(names())

    def test_a_child_process_gets_the_same_settings(self, monkeypatch):
        monkeypatch.setenv("VERISTREAM_KAFKA__SASL_PASSWORD", "pass word")
        monkeypatch.setenv("VERISTREAM_BLOBS__ALLOWED_ROOTS", '["/a b", "/c"]')
        monkeypatch.setenv("VERISTREAM_WORKER__BREAKER__SHARE", "0.25")
        given = load()
        changed = given.model_copy(update={"redis": given.redis.model_copy(update={"enabled": False})})
        for name, value in environment(changed).items():
            monkeypatch.setenv(name, value)
        assert load() == changed

    def test_secrets_are_masked(self, monkeypatch):
        monkeypatch.setenv("VERISTREAM_KAFKA__SASL_PASSWORD", "hush")
        shown = {entry.name: entry.shown for entry in variables(load())}
        assert shown["VERISTREAM_KAFKA__SASL_PASSWORD"] == "***"
        assert shown["VERISTREAM_BLOBS__S3_SECRET_KEY"] == ""


class TestInterruptible:
    @pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_the_first_interrupts_and_the_second_lets_it_finish(self, kind):
        finished = []
        with interruptible():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(kind)
            signal.raise_signal(kind)
            finished.append(kind)
        assert finished == [kind]

    def test_an_interrupt_waits_for_what_must_not_be_torn_apart(self):
        done = []

        def work():
            with held():
                signal.raise_signal(signal.SIGINT)
                done.append(1)

        with interruptible(), pytest.raises(KeyboardInterrupt):
            work()
        assert done == [1]

    def test_handlers_are_put_back(self):
        before = signal.getsignal(signal.SIGTERM)
        with interruptible():
            assert signal.getsignal(signal.SIGTERM) is not before
        assert signal.getsignal(signal.SIGTERM) is before
