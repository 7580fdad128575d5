"""How the loop is set for a demo: everything that is smaller and sooner than on a platform, in one place.

A platform's windows hold thousands of uploads and its rollouts take days; a demo has minutes. What the environment sets
stays as it is set.
"""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from models.bundle import shipped
from stream.settings import Settings

_BUNDLE = "demo"
_CHANGES: dict[str, Any] = {
    "drift": {
        "window": 300,
        "window_age_s": 60.0,
        "reference": 900,
        "baseline": 3000,
        # The demo has one tenant; windows of its own would be judged twice.
        "tenants": 0,
        "cooldown_s": 60.0,
    },
    "retrain": {
        "labels": 200,
        "labels_s": 240.0,
        "cooldown_s": 60.0,
        "most_pictures": 600,
        # The golden set is rendered while people wait: 400 pictures tell rates no closer than this. The new family
        # must be proven to be better known: where labels are poisoned, the slice is as well, and nothing is.
        "gate": {"per_source": 200, "tiers": ("clean",), "fpr": 0.04, "auc": 0.04, "gain": "superior"},
        "rollout": {
            "share": 0.3,
            "shadow_records": 600,
            "shadow_labels": 60,
            "shadow_s": 60.0,
            "canary_records": 300,
            "canary_labels": 60,
            "canary_s": 60.0,
        },
    },
}
G = TypeVar("G", bound=BaseModel)


def of(settings: Settings) -> Settings:
    """The settings for a demo of the loop."""
    shippable = {"worker": {"bundle": _BUNDLE}} if _BUNDLE in shipped() else {}
    return _unless_set(settings, _CHANGES | shippable)


def judged_by(settings: Settings, golden: Path) -> Settings:
    """The settings with a golden set for the gate."""
    return settings.model_copy(update={"retrain": settings.retrain.model_copy(update={"golden": str(golden)})})


def told(settings: Settings) -> dict[str, Any]:
    """What the demo's report says of them: every setting that a demo changes, as it was."""
    return {"worker": {"bundle": settings.worker.bundle}, **_shown(settings, _CHANGES)}


def _unless_set(group: G, changes: dict[str, Any]) -> G:
    update: dict[str, Any] = {}
    for name, value in changes.items():
        present = getattr(group, name)
        if isinstance(present, BaseModel):
            update[name] = _unless_set(present, value)
        elif name not in group.model_fields_set:
            update[name] = value
    return group.model_copy(update=update)


def _shown(group: BaseModel, changes: dict[str, Any]) -> dict[str, Any]:
    values = {name: getattr(group, name) for name in changes}
    return {
        name: _shown(value, changes[name]) if isinstance(value, BaseModel) else value for name, value in values.items()
    }
