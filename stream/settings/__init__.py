"""Every setting, read from ``VERISTREAM_*`` variables; nested names are joined with two underscores.

``VERISTREAM_KAFKA__BOOTSTRAP=broker:9092`` sets ``settings.kafka.bootstrap``. The defaults are safe and work at once
against services on this machine. Names that do not exist are refused with the nearest that do; ``VERISTREAM_TEST_*``
are the tests' own and pass.
"""

import difflib
import os
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream.errors import ConfigurationError
from stream.settings.group import Group
from stream.settings.renewal import DriftSettings, GateSettings, RetrainSettings, RolloutSettings
from stream.settings.serving import (
    MIB,
    BlobSettings,
    BreakerSettings,
    ImageSettings,
    KafkaSettings,
    RedisSettings,
    TelemetrySettings,
    TopicSettings,
    WorkerSettings,
)

__all__ = [
    "MIB",
    "PREFIX",
    "BlobSettings",
    "BreakerSettings",
    "DriftSettings",
    "GateSettings",
    "Group",
    "ImageSettings",
    "KafkaSettings",
    "RedisSettings",
    "RetrainSettings",
    "RolloutSettings",
    "Settings",
    "TelemetrySettings",
    "TopicSettings",
    "WorkerSettings",
    "load",
    "names",
]

PREFIX = "VERISTREAM_"
_TESTS = f"{PREFIX}TEST_"
_NESTED = "__"


class Settings(BaseSettings):
    """All settings. Build it with `load`, which also refuses unknown names."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=_NESTED, frozen=True, extra="forbid", env_ignore_empty=True
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    redis: RedisSettings = RedisSettings()
    blobs: BlobSettings = BlobSettings()
    worker: WorkerSettings = WorkerSettings()
    drift: DriftSettings = DriftSettings()
    retrain: RetrainSettings = RetrainSettings()
    images: ImageSettings = ImageSettings()
    telemetry: TelemetrySettings = TelemetrySettings()


def names(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> Iterator[str]:
    """Every variable that is read, such as ``VERISTREAM_KAFKA__BOOTSTRAP``."""
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            yield from names(field.annotation, f"{variable}{_NESTED}")
        else:
            yield variable


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings from the environment.

    Raises:
        ConfigurationError: A ``VERISTREAM_`` variable does not exist or its value does not fit; the message names the
            variable, what is wrong, and the nearest right name.
    """
    known = set(names())
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and not variable.startswith(_TESTS) and variable.upper() not in known:
            near = difflib.get_close_matches(variable.upper(), known, n=3, cutoff=0.5)
            remedy = f"Did you mean {' or '.join(near)}?" if near else "`veristream doctor --settings` lists all names"
            raise ConfigurationError(f"there is no setting {variable}", where="environment", remedy=remedy)
    try:
        return Settings()
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        variable = PREFIX + _NESTED.join(str(step) for step in fault["loc"]).upper()
        raise ConfigurationError(f"{variable}: {fault['msg']}", where="environment") from error
