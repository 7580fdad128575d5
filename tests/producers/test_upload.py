import asyncio

import pytest
from confluent_kafka import KafkaError

from compose.embedded.broker import Api
from producers.packing import Packer
from producers.upload import AsyncUploadProducer, UploadProducer
from stream import uploads as wire
from stream.consumer import KafkaConsumer
from stream.doubles import MemoryBlobs, MemoryBroker, MemoryProducer
from stream.errors import DeliveryFailed, NotAnImage
from stream.events import ImageClaim
from stream.settings import KafkaSettings, Settings
from tests.producers.pictures import jpeg


@pytest.fixture
def memory():
    return MemoryBroker()


@pytest.fixture
def uploads(memory):
    return UploadProducer(MemoryProducer(memory))


def sent(memory, topic="uploads"):
    return {upload.id: upload for upload in map(wire.decode, memory.records(topic))}


def read(bootstrap, topic, count, eventually):
    consumer = KafkaConsumer(KafkaSettings(bootstrap=bootstrap), group="read", client_id="read")
    records = []
    try:
        consumer.subscribe([topic], on_assign=lambda _: None, on_revoke=lambda _: None)
        eventually(lambda: records.extend(consumer.poll(100, 0.1)) or len(records) >= count)
    finally:
        consumer.close()
    return records


def settings_for(bootstrap, **groups):
    return Settings(kafka=KafkaSettings(bootstrap=bootstrap), **groups)


def test_an_upload_arrives_as_it_was_sent(memory, uploads):
    upload_id = uploads.send(jpeg(), uploader="a", tenant="t")
    uploads.flush()
    upload = sent(memory)[upload_id]
    assert (upload.content, upload.uploader, upload.tenant) == (jpeg(), "a", "t")


def test_flush_names_what_was_not_delivered_and_only_once(memory, uploads):
    memory.refuse_next_send(DeliveryFailed("disk full"))
    lost = uploads.send(jpeg(1), uploader="a")
    kept = uploads.send(jpeg(2), uploader="a")
    with pytest.raises(DeliveryFailed, match="disk full") as caught:
        uploads.flush()
    assert lost in str(caught.value)
    assert kept not in str(caught.value)
    assert list(uploads.undelivered) == [lost]
    uploads.flush()
    assert not uploads.undelivered
    uploads.send(jpeg(1), uploader="a", upload_id=lost)
    uploads.close()
    assert set(sent(memory)) == {lost, kept}


def test_what_has_no_answer_in_time_counts_as_undelivered(memory, uploads):
    memory.away = True
    upload_id = uploads.send(jpeg(), uploader="a")
    with pytest.raises(DeliveryFailed, match="no acknowledgement within"):
        uploads.flush(0.01)
    assert list(uploads.undelivered) == [upload_id]
    memory.away = False
    uploads.flush()
    assert set(sent(memory)) == {upload_id}


def test_a_long_list_of_failures_is_named_in_part_and_kept_in_full(memory, uploads):
    for _ in range(12):
        memory.refuse_next_send(DeliveryFailed("no"))
        uploads.send(jpeg(), uploader="a")
    with pytest.raises(DeliveryFailed, match=r"12 uploads not delivered.* and 2 more"):
        uploads.close()
    assert len(uploads.undelivered) == 12


def test_leaving_the_block_raises_unless_the_block_did(memory):
    memory.refuse_next_send(DeliveryFailed("no"))
    with (
        pytest.raises(DeliveryFailed, match="1 upload not delivered"),
        UploadProducer(MemoryProducer(memory)) as uploads,
    ):
        uploads.send(jpeg(), uploader="a")
    memory.refuse_next_send(DeliveryFailed("no"))
    with pytest.raises(NotAnImage) as caught, UploadProducer(MemoryProducer(memory)) as uploads:
        assert uploads.send(jpeg(), uploader="a") != uploads.send(b"no picture", uploader="a")
    assert "1 upload not delivered" in caught.value.__notes__[0]


def test_send_and_wait_answers_for_its_own_upload(memory, uploads):
    upload_id = uploads.send_and_wait(jpeg(), uploader="a")
    assert upload_id in sent(memory)
    memory.refuse_next_send(DeliveryFailed("no"))
    with pytest.raises(DeliveryFailed, match="was not delivered: no"):
        uploads.send_and_wait(jpeg(), uploader="a")
    uploads.flush()
    memory.away = True
    with pytest.raises(DeliveryFailed, match="within"):
        uploads.send_and_wait(jpeg(), uploader="a", timeout_s=0.01)


def test_what_cannot_be_packed_is_not_queued(memory, uploads):
    with pytest.raises(NotAnImage):
        uploads.send(b"no picture", uploader="a")
    with pytest.raises(TypeError, match=r"uploder.*uploader"):
        uploads.send(jpeg(), uploder="a")
    with pytest.raises(TypeError, match="needs 'uploader'"):
        uploads.send(jpeg())
    uploads.close()
    assert not sent(memory)


async def test_asyncio_resolves_at_the_acknowledgement(memory):
    async with AsyncUploadProducer(UploadProducer(MemoryProducer(memory))) as uploads:
        ids = await asyncio.gather(*(uploads.send(jpeg(n), uploader="a") for n in range(20)))
        assert set(sent(memory)) == set(ids)
        memory.refuse_next_send(DeliveryFailed("no"))
        with pytest.raises(DeliveryFailed, match="no"):
            await uploads.send(jpeg(), uploader="a")


async def test_a_cancelled_send_still_arrives(memory):
    uploads = AsyncUploadProducer(UploadProducer(MemoryProducer(memory)))
    memory.away = True
    task = asyncio.create_task(uploads.send(jpeg(), uploader="a", upload_id="mine"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task, 0.05)
    memory.away = False
    await uploads.close()
    assert set(sent(memory)) == {"mine"}


def test_over_the_embedded_broker(broker, eventually, tmp_path):
    broker.create_topic("eu.uploads", 2)
    settings = settings_for(
        broker.bootstrap, topics={"prefix": "eu."}, blobs={"store": tmp_path.as_uri(), "inline_limit": 2000}
    )
    with UploadProducer.connect(settings) as uploads:
        small = uploads.send(jpeg(), uploader="a")
        large = uploads.send_and_wait(jpeg(size=400), uploader="a")
    found = {upload.id: upload for upload in map(wire.decode, read(broker.bootstrap, "eu.uploads", 2, eventually))}
    assert found[small].content == jpeg()
    claim = found[large].content
    assert isinstance(claim, ImageClaim)
    assert claim.uri.startswith(tmp_path.as_uri())


async def test_asyncio_over_the_embedded_broker(broker, eventually):
    broker.create_topic("uploads", 2)
    async with AsyncUploadProducer.connect(settings_for(broker.bootstrap)) as uploads:
        ids = await asyncio.gather(*(uploads.send(jpeg(n), uploader="a") for n in range(10)))
    assert {record.key.decode() for record in read(broker.bootstrap, "uploads", 10, eventually)} == set(ids)


def test_a_refusal_of_the_embedded_broker_surfaces(broker):
    broker.create_topic("uploads", 1)
    uploads = UploadProducer.connect(settings_for(broker.bootstrap))
    kept = uploads.send_and_wait(jpeg(), uploader="a")
    broker.inject_errors(Api.PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    lost = uploads.send(jpeg(), uploader="a")
    with pytest.raises(DeliveryFailed, match="1 upload not delivered"):
        uploads.close()
    assert list(uploads.undelivered) == [lost]
    assert kept != lost


def test_a_record_that_is_too_large_is_refused_at_once_and_not_counted_as_lost(broker):
    broker.create_topic("uploads", 1)
    uploads = UploadProducer.connect(settings_for(broker.bootstrap, blobs={"inline_limit": 8_000_000}))
    with pytest.raises(DeliveryFailed, match="was refused"):
        uploads.send(jpeg() + bytes(5_000_000), uploader="a")
    uploads.close()


class StuckAtClose(MemoryProducer):
    def close(self):
        raise DeliveryFailed("1 records were not acknowledged")


def test_closing_says_both_what_failed_and_that_the_client_had_more_to_send(memory):
    uploads = UploadProducer(StuckAtClose(memory))
    memory.refuse_next_send(DeliveryFailed("no"))
    upload_id = uploads.send(jpeg(), uploader="a")
    with pytest.raises(DeliveryFailed, match=upload_id) as caught:
        uploads.close()
    assert caught.value.__notes__ == ["1 records were not acknowledged"]


def test_stored_pictures_are_written_once_per_content():
    store = MemoryBlobs()
    uploads = UploadProducer(MemoryProducer(MemoryBroker()), Packer(store, inline_limit=0))
    for _ in range(3):
        uploads.send(jpeg(), uploader="a")
    uploads.close()
    assert len(store.objects) == 1
