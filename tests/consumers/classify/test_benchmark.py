import numpy as np

from consumers.classify.benchmark import SimulatedDevice, embedding_seconds, measure
from models.doubles import FixedClassifier
from stream import embeddings
from stream.doubles import MemoryBroker, MemoryProducer
from stream.settings import Settings, WorkerSettings
from tests.consumers.classify.test_worker import shade

SETTINGS = Settings(worker=WorkerSettings(shadow_patience_ms=60_000.0))


def device(digest: str) -> SimulatedDevice:
    return SimulatedDevice(FixedClassifier(digest=digest * 64), fixed_s=0.0, each_s=0.0)


def test_every_upload_of_a_run_is_answered_and_heard_by_a_shadow():
    alone = measure(device("a"), [shade(7)], "image/png", settings=SETTINGS, images=40)
    beside = measure(device("a"), [shade(7)], "image/png", settings=SETTINGS, images=40, shadow=device("b"))
    assert (alone.heard, beside.heard) == (0.0, 1.0)
    assert sum(size * count for size, count in alone.batches.items()) == 40


def test_what_an_embedding_costs_is_measured_on_real_events():
    broker = MemoryBroker()
    [score] = FixedClassifier(dim=64).predict([np.full((1, 32, 32, 3), 7, np.uint8)])
    assert embedding_seconds(MemoryProducer(broker).send, score, records=20) > 0
    sent = [embeddings.decode(record) for record in broker.records("embeddings")]
    assert len({each.upload_id for each in sent}) == 20
    assert {len(each.vector) for each in sent} == {64}
