"""Every setting as the environment variable that sets it: to hand settings to a child process, and to list them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_json

from stream.settings import PREFIX, Group, Settings

_NESTED = "__"
_MASK = "***"


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting.

    Attributes:
        name: Such as ``VERISTREAM_KAFKA__BOOTSTRAP``.
        value: As the environment would say it.
        default: Likewise.
        description: In words; empty where the name says it all.
        secret: Whether the value must not be shown.
    """

    name: str
    value: str
    default: str
    description: str
    secret: bool

    @property
    def shown(self) -> str:
        """The value for people: secrets masked."""
        return _MASK if self.secret and self.value else self.value


def variables(settings: Settings) -> Iterator[Variable]:
    """Every setting in the order in which they are declared."""
    yield from _walk(settings, PREFIX)


def environment(settings: Settings) -> Mapping[str, str]:
    """What a child process needs in its environment to have these settings, secrets in clear.

    Empty values are included, so that what the parent's own environment says does not show through.
    """
    return {variable.name: variable.value for variable in variables(settings)}


def _walk(group: BaseModel, prefix: str) -> Iterator[Variable]:
    for name, field in type(group).model_fields.items():
        variable = f"{prefix}{name.upper()}"
        value = getattr(group, name)
        if isinstance(value, Group):
            yield from _walk(value, f"{variable}{_NESTED}")
        else:
            default = "" if field.default is PydanticUndefined else _text(field.default)
            secret = isinstance(value, SecretStr)
            yield Variable(variable, _text(value), _MASK if secret and default else default, _described(field), secret)


def _described(field: FieldInfo) -> str:
    return field.description or ""


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return to_json([str(entry) if isinstance(entry, Path) else entry for entry in value]).decode()
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
