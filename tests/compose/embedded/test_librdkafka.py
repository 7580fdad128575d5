"""What the bindings say when librdkafka refuses; a real one never does, so a stand-in plays it."""

from types import SimpleNamespace

import pytest

from compose.embedded.librdkafka import MockCluster
from stream.errors import BrokerUnavailable


class Refusing(SimpleNamespace):
    """librdkafka's functions with one of them failing; remembers what was freed."""

    def __init__(self, **failing):
        self.freed = []
        works = {
            "rd_kafka_conf_new": lambda: 1,
            "rd_kafka_conf_set": lambda *_: 0,
            "rd_kafka_conf_destroy": lambda _: self.freed.append("configuration"),
            "rd_kafka_new": lambda *_: 2,
            "rd_kafka_destroy": lambda _: self.freed.append("handle"),
            "rd_kafka_mock_cluster_new": lambda *_: 3,
        }
        super().__init__(**{**works, **failing})


def _refuse(_configuration, *arguments):
    arguments[-2].value = b"out of threads"


@pytest.mark.parametrize(
    ("failing", "message", "freed"),
    [
        ({"rd_kafka_conf_set": lambda *a: _refuse(*a) or -1}, "refused a setting: out of threads", ["configuration"]),
        ({"rd_kafka_new": _refuse}, "did not start: out of threads", ["configuration"]),
        ({"rd_kafka_mock_cluster_new": lambda *_: None}, "loopback port", ["handle"]),
    ],
)
def test_a_refusal_is_told_and_frees_what_was_made(failing, message, freed):
    library = Refusing(**failing)
    with pytest.raises(BrokerUnavailable, match=message):
        MockCluster(library)
    assert library.freed == freed
