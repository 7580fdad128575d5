"""Procedural scenes: simulated photographs and simulated machine-made pictures, called what they are."""

from producers.traffic.scenes.export import export, golden
from producers.traffic.scenes.families import (
    CAMERA,
    DELIVERED,
    DEMO_FAMILIES,
    TIERS,
    TRAINED_FAMILIES,
    UNSEEN_FAMILIES,
    deliver,
    encode,
    families,
    machine_made,
    photograph,
)

__all__ = [
    "CAMERA",
    "DELIVERED",
    "DEMO_FAMILIES",
    "TIERS",
    "TRAINED_FAMILIES",
    "UNSEEN_FAMILIES",
    "deliver",
    "encode",
    "export",
    "families",
    "golden",
    "machine_made",
    "photograph",
]
