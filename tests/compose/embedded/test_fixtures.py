"""The fixtures that every other test stands on."""

import uuid

import pytest
from confluent_kafka import Consumer, Producer


def test_any_broker_delivers_what_was_produced(any_broker):
    topic = f"t-{uuid.uuid4().hex}"
    any_broker.create_topic(topic, 3)
    any_broker.create_topic(topic, 3)
    producer = Producer({"bootstrap.servers": any_broker.bootstrap})
    for partition in range(3):
        producer.produce(topic, b"%d" % partition, partition=partition)
    assert producer.flush(60) == 0
    assert len(producer.list_topics(topic).topics[topic].partitions) == 3
    consumer = Consumer({"bootstrap.servers": any_broker.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    seen = {message.value() for message in (consumer.poll(60) for _ in range(3))}
    consumer.close()
    assert seen == {b"0", b"1", b"2"}


def _round_trip(bucket):
    client = bucket.client()
    client.put_object(Bucket=bucket.name, Key="a/b.jpg", Body=b"picture")
    body = client.get_object(Bucket=bucket.name, Key="a/b.jpg")["Body"].read()
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket=bucket.name, Key="gone")
    client.close()
    return body


def test_moto_keeps_an_object(s3_moto):
    assert _round_trip(s3_moto) == b"picture"


@pytest.mark.s3
def test_s3_server_keeps_an_object(s3_server):
    assert _round_trip(s3_server) == b"picture"


@pytest.mark.data
def test_the_data_folder_holds_zips(data_dir):
    assert list(data_dir.glob("*.zip"))


def test_eventually_names_the_condition_that_never_held(eventually):
    tries = []

    def third_time():
        tries.append(1)
        return len(tries) == 3

    eventually(third_time, 5)

    def never():
        return False

    with pytest.raises(pytest.fail.Exception, match="never"):
        eventually(never, 0.05)
