"""librdkafka's mock cluster through ctypes: the few C functions that the Python client does not wrap.

confluent-kafka's wheel bundles librdkafka and exports its `rd_kafka_mock_*` functions (`rdkafka_mock.h`, experimental
by its own word, so this module is the only one that knows them). The copy already mapped by ``confluent_kafka.cimpl``
is the one that is used: no second library, no version that differs from the client's.
"""

import ctypes
from ctypes import c_char_p, c_int, c_int16, c_int32, c_size_t, c_void_p
from pathlib import Path

import confluent_kafka.cimpl

from stream.errors import BrokerUnavailable, ConfigurationError

ALL_BROKERS = -1
_PRODUCER = 0
_MAPS = Path("/proc/self/maps")
_ERROR_CHARS = 512

_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "rd_kafka_conf_new": (c_void_p, []),
    "rd_kafka_conf_set": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "rd_kafka_conf_destroy": (None, [c_void_p]),
    "rd_kafka_new": (c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
    "rd_kafka_destroy": (None, [c_void_p]),
    "rd_kafka_err2str": (c_char_p, [c_int]),
    "rd_kafka_mock_cluster_new": (c_void_p, [c_void_p, c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [c_void_p]),
    "rd_kafka_mock_cluster_bootstraps": (c_char_p, [c_void_p]),
    "rd_kafka_mock_topic_create": (c_int, [c_void_p, c_char_p, c_int, c_int]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [c_void_p, c_int32]),
    "rd_kafka_mock_broker_set_down": (c_int, [c_void_p, c_int32]),
    "rd_kafka_mock_broker_set_up": (c_int, [c_void_p, c_int32]),
    "rd_kafka_mock_broker_set_rtt": (c_int, [c_void_p, c_int32, c_int]),
    "rd_kafka_mock_push_request_errors_array": (None, [c_void_p, c_int16, c_size_t, c_void_p]),
    "rd_kafka_mock_clear_request_errors": (None, [c_void_p, c_int16]),
}


def _candidates() -> list[Path]:
    """Files that may be the bundled librdkafka, the one mapped into this process first."""
    mapped: list[Path] = []
    if _MAPS.exists():
        names = (line.split(maxsplit=5)[-1].strip() for line in _MAPS.read_text().splitlines())
        mapped = [Path(name) for name in names if "librdkafka" in Path(name).name]
    package = Path(confluent_kafka.cimpl.__file__).parent
    folders = (package.parent / "confluent_kafka.libs", package / ".dylibs")
    return [*mapped[:1], *(found for folder in folders for found in sorted(folder.glob("librdkafka*")))]


def load() -> ctypes.CDLL:
    """Returns librdkafka with the mock cluster's signatures declared.

    Raises:
        ConfigurationError: This build of confluent-kafka has no separate librdkafka, or one without the mock cluster.
    """
    for path in _candidates():
        library = ctypes.CDLL(str(path))
        if all(hasattr(library, name) for name in _SIGNATURES):
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
            return library
    raise ConfigurationError(
        "this build of confluent-kafka does not export librdkafka's mock cluster",
        where=str(Path(confluent_kafka.cimpl.__file__)),
        remedy="Install the confluent-kafka wheel, or use --broker kafka with KAFKA_HOME set",
    )


class MockCluster:
    """One mock cluster of one broker on a client handle of its own. Not safe to use once `destroy` was called.

    Every call is handed to the cluster's own thread and returns when it was carried out there.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        reason = ctypes.create_string_buffer(_ERROR_CHARS)
        configuration = library.rd_kafka_conf_new()
        # The handle has no brokers on purpose; below "error" it would say so on stderr.
        if library.rd_kafka_conf_set(configuration, b"log_level", b"3", reason, _ERROR_CHARS) != 0:
            library.rd_kafka_conf_destroy(configuration)
            raise BrokerUnavailable(f"librdkafka refused a setting: {reason.value.decode()}", where="embedded broker")
        self._handle = library.rd_kafka_new(_PRODUCER, configuration, reason, _ERROR_CHARS)
        if not self._handle:
            library.rd_kafka_conf_destroy(configuration)
            raise BrokerUnavailable(f"librdkafka did not start: {reason.value.decode()}", where="embedded broker")
        self._cluster = library.rd_kafka_mock_cluster_new(self._handle, 1)
        if not self._cluster:
            library.rd_kafka_destroy(self._handle)
            raise BrokerUnavailable("librdkafka could not open a loopback port", where="embedded broker")

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the broker."""
        found: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return found.decode()

    def create_topic(self, name: str, partitions: int) -> int:
        """Creates a topic; returns Kafka's error code, 0 for none."""
        return int(self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1))

    def group_initial_rebalance_delay(self, delay_ms: int) -> None:
        """How long a new group waits for more members."""
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, delay_ms)

    def set_down(self) -> int:
        """Drops every connection and refuses new ones; returns the error code."""
        return int(self._library.rd_kafka_mock_broker_set_down(self._cluster, ALL_BROKERS))

    def set_up(self) -> int:
        """Accepts connections again; returns the error code."""
        return int(self._library.rd_kafka_mock_broker_set_up(self._cluster, ALL_BROKERS))

    def set_round_trip(self, milliseconds: int) -> int:
        """Delays every answer; returns the error code."""
        return int(self._library.rd_kafka_mock_broker_set_rtt(self._cluster, ALL_BROKERS, milliseconds))

    def push_errors(self, api: int, errors: list[int]) -> None:
        """Answers the next ``len(errors)`` requests of this kind with these codes, in order."""
        codes = (c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(errors), codes)

    def clear_errors(self, api: int) -> None:
        """Forgets the errors of this kind that were not yet answered."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, api)

    def describe(self, code: int) -> str:
        """An error code in librdkafka's words."""
        text: bytes = self._library.rd_kafka_err2str(code)
        return text.decode()

    def destroy(self) -> None:
        """Stops the broker's thread, closes its port and frees its records."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)
