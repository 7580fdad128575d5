"""How the loop is set for a demo: everything that is smaller and sooner than on a platform, in one place.

A platform's windows hold thousands of uploads and its rollouts take days; a demo has minutes. What the environment sets
stays as it is set.
"""

from typing import Any, TypeVar

from models.bundle import shipped
from stream.settings import Group, Settings

_BUNDLE = "demo"
_DRIFT: dict[str, Any] = {
    "window": 300,
    "window_age_s": 60.0,
    "reference": 900,
    "baseline": 1500,
    "cooldown_s": 60.0,
}
_RETRAIN: dict[str, Any] = {}


G = TypeVar("G", bound=Group)


def of(settings: Settings) -> Settings:
    """The settings for a demo of the loop."""
    worker: dict[str, Any] = {"bundle": _BUNDLE} if _BUNDLE in shipped() else {}
    return settings.model_copy(
        update={
            "worker": _unless_set(settings.worker, worker),
            "drift": _unless_set(settings.drift, _DRIFT),
            "retrain": _unless_set(settings.retrain, _RETRAIN),
        }
    )


def told(settings: Settings) -> dict[str, Any]:
    """What the demo's report says of them."""
    return {
        "bundle": settings.worker.bundle,
        "drift": settings.drift.model_dump(mode="json", include=set(_DRIFT)),
        "retrain": settings.retrain.model_dump(mode="json", include=set(_RETRAIN)),
    }


def _unless_set(group: G, changes: dict[str, Any]) -> G:
    changed = {name: value for name, value in changes.items() if name not in group.model_fields_set}
    return group.model_copy(update=changed)
