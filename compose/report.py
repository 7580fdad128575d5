"""What a session came to, as one JSON object, and which stated limits it broke."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from compose.loop_report import loop_rows
from compose.session import Session

_RATES = ("accuracy", "coverage", "fpr", "detection_rate", "accuracy_forced")
_CUT = ("by_family", "by_persona", "by_tier", "by_phase")


def report(session: Session, *, broker: str, seed: int, sending: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a session's meter.

    Latency runs from the event's time of occurrence until a read-committed reader had the verdict. ``lost`` counts
    uploads with neither a verdict nor a dead letter, ``duplicated`` verdicts beyond the first of their upload.

    Args:
        session: After its last verdict.
        broker: As it was asked for.
        seed: Of the traffic.
        sending: The generator's own summary.
    """
    score, model, ready = session.meter.score(), session.meter.model, session.ready
    return {
        **{name: score[name] for name in ("uploads", "verdicts", "lost", "duplicated", "dlq", "uncertain")},
        **{key: score[key] for name in _RATES for key in (name, f"{name}_ci95")},
        "images_per_s": score["images_per_s"],
        "seconds": round(score["seconds"], 3),
        "latency_ms": score["latency_ms"],
        "provider": model.provider if model else ready.provider,
        "bundle": {"name": ready.bundle_name, "digest": ready.bundle_digest},
        "broker": {"kind": broker, "address": session.settings.kafka.bootstrap},
        "delivery": session.settings.worker.delivery,
        "worker": {"ready_s": round(session.ready_s, 2), "restarts": session.restarts},
        "memory_mib": {name: _rounded(value) for name, value in session.memory.course._asdict().items()},
        "seed": seed,
        "sending": dict(sending),
        **{by: score[by] for by in _CUT},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run must keep to; None where nothing is asked.

    Attributes:
        max_p50_ms: Median latency.
        max_p99_ms: 99th percentile of latency.
        min_images_per_s: Sustained throughput.
        max_memory_mib: The worker's peak resident memory.
        max_dlq: Dead letters; 0 where every picture sent is sound.
        max_duplicated: Verdicts beyond the first of their upload; None where the broker or the delivery asked for
            cannot promise any number.
    """

    max_p50_ms: float | None = None
    max_p99_ms: float | None = None
    min_images_per_s: float | None = None
    max_memory_mib: float | None = None
    max_dlq: int | None = None
    max_duplicated: int | None = 0


def breaches(report: Mapping[str, Any], limits: Limits) -> list[str]:
    """Every limit that was broken, in words. A lost verdict and a number that is missing are always a breach."""
    found = []
    if report["lost"]:
        found.append(f"{report['lost']} of {report['uploads']} uploads got neither a verdict nor a dead letter")
    latency = report["latency_ms"]
    found += _above("verdicts that came again", report["duplicated"], limits.max_duplicated, "")
    found += _above("p50 latency", latency["p50"], limits.max_p50_ms, "ms")
    found += _above("p99 latency", latency["p99"], limits.max_p99_ms, "ms")
    found += _above("dead letters", report["dlq"], limits.max_dlq, "")
    found += _above("the worker's peak memory", report["memory_mib"]["peak"], limits.max_memory_mib, "MiB")
    least = limits.min_images_per_s
    if least is not None and report["images_per_s"] < least:
        found.append(f"{report['images_per_s']:g} images/s, under the limit of {least:g}")
    return found


def _above(name: str, value: float | None, limit: float | None, unit: str) -> list[str]:
    if limit is None or (value is not None and value <= limit):
        return []
    if value is None:
        return [f"{name} could not be measured"]
    return [f"{name}: {value:g} {unit}".rstrip() + f", over the limit of {limit:g} {unit}".rstrip()]


def summary(report: Mapping[str, Any], *, title: str, broken: Sequence[str] = ()) -> Table:
    """The report for people."""
    table = Table(title=title, show_header=False)
    latency, memory = report["latency_ms"], report["memory_mib"]
    astray = f"lost {report['lost']}, again {report['duplicated']}, dead {report['dlq']}"
    rows = {
        "uploads": f"{report['uploads']:,}",
        "verdicts": f"{report['verdicts']:,}; {astray}",
        "throughput": f"{report['images_per_s']:g} images/s over {report['seconds']:.1f} s",
        "latency": ", ".join(f"{name} {_number(latency[name])} ms" for name in ("p50", "p95", "p99")),
        "accuracy": f"{_share(report, 'accuracy')} of the decided {_share(report, 'coverage')}",
        "false positives": _share(report, "fpr"),
        "worker memory": ", ".join(f"{name} {_number(value)} MiB" for name, value in memory.items()),
        "provider": report["provider"],
        "bundle": f"{report['bundle']['name']} {report['bundle']['digest'][:12]}",
        "broker": f"{report['broker']['kind']}, {report['delivery'].replace('_', ' ')}",
    }
    if "rollout" in report:
        rows |= loop_rows(report)
    for name, text in rows.items():
        table.add_row(name, text)
    for breach in broken:
        table.add_row("[bold red]breach[/]", breach)
    for note in report.get("notes", ()):
        table.add_row("note", note)
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _share(report: Mapping[str, Any], name: str) -> str:
    if report[name] is None:
        return "–"
    low, high = report[f"{name}_ci95"]
    return f"{report[name]:.1%} ({low:.1%}–{high:.1%})"
