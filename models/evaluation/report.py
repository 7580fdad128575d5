"""The evaluation as one HTML page that needs nothing but itself: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from models.evaluation import charts
from models.evaluation.charts import Row
from models.evaluation.page import PAGE, ROBUSTNESS, UNTESTED
from models.evaluation.run import Evaluation
from models.evaluation.slices import DIMENSIONS

_TABLE = (
    ("AUC, source-balanced", "auc"),
    ("AUC, pooled", "auc_pooled"),
    ("Accuracy of what it decides", "accuracy"),
    ("Accuracy forced at even odds", "accuracy_forced"),
    ("Balanced accuracy at even odds", "balanced_accuracy"),
    ("False positives (authentic called machine-made)", "fpr"),
    ("False negatives (machine-made called authentic)", "fnr"),
    ("Abstained (uncertain)", "abstained"),
    ("Calibration error (ECE)", "ece"),
)
_VERDICTS = ("called-ai", "called-uncertain", "called-authentic")
_TESTS = {
    "flip": "mirrored", "jpeg_q90": "JPEG quality 90", "crop_shift": "cut by 5 and 3 pixels",
    "no_metadata": "metadata removed", "png": "through PNG", "resize_95": "resized to 95 %", "any": "any of the six",
}  # fmt: skip
_MODES = {
    "unchanged": "as they are", "low_light": "low light", "denoised": "denoised", "scan": "scan of a print",
    "thumbnail": "thumbnail",
}  # fmt: skip


def html(evaluation: Evaluation) -> str:
    """The page."""
    figures = evaluation.figures
    bundle, detail = figures["bundle"], figures["real_vs_real_detail"]
    tiers: Mapping[str, Any] = figures["tiers"]
    curves = {str(tier): scored for tier, scored in evaluation.tiers.items()}
    data = ", ".join(f"{part['name']} ({part['pictures']:,})" for part in figures["data"])
    unreadable = sum(figures["unreadable"].values())
    parts = list(_parts(figures["slices"]))
    return Template(PAGE).substitute(
        title=escape(f"{bundle['name']} {bundle['version']}"),
        digest=escape(bundle["digest"]),
        provider=escape(f"{bundle['provider']}, {bundle['precision']}"),
        data=escape(data),
        counted=f"{figures['n']:,} pictures, {figures['n_real']:,} authentic and {figures['n_fake']:,} machine-made"
        + (f"; {unreadable:,} could not be decoded and were left out" if unreadable else ""),
        seed=figures["seed"],
        above=f"{bundle['thresholds']['ai_above']:.3f}",
        below=f"{bundle['thresholds']['authentic_below']:.3f}",
        tiles="".join(_tiles(figures)),
        heads="".join(f"<th>{escape(tier)}</th>" for tier in tiers),
        table="".join(
            f"<tr><th>{name}</th>{''.join(f'<td>{_with_interval(tier, key)}</td>' for tier in tiers.values())}</tr>"
            for name, key in _TABLE
        )
        + f"<tr><th>Most lost by one source of authentic</th>{''.join(_worst(tier) for tier in tiers.values())}</tr>",
        legend="".join(f'<span class="key"><i class="{tier}"></i>{tier}</span>' for tier in tiers),
        roc=charts.roc(curves),
        reliability=charts.reliability(curves),
        verdicts=charts.stacked(_sources(figures), _VERDICTS, "Verdicts by source"),
        areas=charts.whiskers(list(_areas(figures["slices"]["source"])), "AUC by source"),
        parts=f'<div class="card">{charts.whiskers(parts, "AUC by slice")}</div>' if parts else "",
        slices="".join(_slices(figures["slices"])),
        control=_control(figures, detail),
        robustness=_robustness(figures),
    )


def _robustness(figures: Mapping[str, Any]) -> str:
    if not figures["metamorphic"]:
        return UNTESTED
    tests = [_test(_TESTS[name], found) for name, found in figures["metamorphic"].items()]
    modes = [_mode(_MODES.get(name, name), found) for name, found in figures["failure_modes"].items()]
    return Template(ROBUSTNESS).substitute(
        tests=charts.stacked(tests, ("reversed", "changed", "unmoved"), "Verdicts that move"),
        modes=charts.stacked(modes, _VERDICTS, "Authentic pictures after each failure mode"),
    )


def _tiles(figures: Mapping[str, Any]) -> Iterable[str]:
    first = next(iter(figures["tiers"]))
    tier = figures["tiers"][first]
    chance = figures["real_vs_real_detail"]["chance"]
    for name, among, key in (
        (f"AUC, {first}", tier, "auc"),
        (f"false positives, {first}", tier, "fpr"),
        (f"abstained, {first}", tier, "abstained"),
        ("ECE, clean", figures, "ece"),
        ("verdicts reversed", figures, "flip_rate"),
        ("AUC, real against real" + (f", {chance:.3f} by chance" if chance else ""), figures, "real_vs_real"),
    ):
        value, ends = among[key], among[f"{key}_ci95"]
        spread = f"{ends[0]:.3f}–{ends[1]:.3f}" if ends else ""
        yield f"<div class='tile'><b>{_number(value)}</b><span>{name}</span><small>{spread}</small></div>"


def _sources(figures: Mapping[str, Any]) -> list[Row]:
    found = sorted(figures["slices"]["source"].items(), key=lambda part: (part[1]["n_fake"] > 0, -part[1]["called_ai"]))
    return [_verdicts(name, part) for name, part in found]


def _verdicts(name: str, part: Mapping[str, Any]) -> Row:
    called, abstained = part["called_ai"], part["abstained"]
    kind = "mixed" if part["n_real"] and part["n_fake"] else ("fake" if part["n_fake"] else "real")
    return Row(name, (called, abstained, max(0.0, 1 - called - abstained)), f"{called:.0%} of {part['n']:,} {kind}")


def _areas(parts: Mapping[str, Any]) -> Iterable[tuple[str, float, Sequence[float], str]]:
    for name, part in sorted(parts.items(), key=lambda part: -(part[1]["auc"] or 0)):
        if part["auc"] is not None and part["auc_ci95"]:
            yield name, part["auc"], part["auc_ci95"], f"{part['auc']:.3f}, n = {part['n']:,}"


def _parts(slices: Mapping[str, Any]) -> Iterable[tuple[str, float, Sequence[float], str]]:
    """A dot for every slice of what divides the pictures at all."""
    for dimension in _told(slices):
        for name, part in sorted(slices[dimension].items(), key=_bound) if len(slices[dimension]) > 1 else ():
            if part["auc"] is not None and part["auc_ci95"]:
                star = "" if part["auc_against"] == "slice" else " *"
                label = f"{dimension.replace('_', ' ')} {name}"
                yield label, part["auc"], part["auc_ci95"], f"{part['auc']:.3f}{star}, n = {part['n']:,}"


def _told(slices: Mapping[str, Any]) -> list[str]:
    """The dimensions that say something which the charts by source do not."""
    known = {name for name, part in slices["source"].items() if part["n_fake"]}
    silent = {
        "source": True,
        "generator": set(slices["generator"]) <= known,
        "collection": len(slices["collection"]) == 1,
    }
    return [dimension for dimension in DIMENSIONS if slices[dimension] and not silent.get(dimension)]


def _slices(slices: Mapping[str, Any]) -> Iterable[str]:
    for dimension in _told(slices):
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{part['n']:,}</td><td>{part['n_fake'] / part['n']:.0%}</td>"
            f"<td>{_with_interval(part, 'auc')}{'' if part['auc_against'] == 'slice' else ' *'}</td>"
            f"<td>{_with_interval(part, 'fpr')}</td><td>{_with_interval(part, 'fnr')}</td>"
            f"<td>{_with_interval(part, 'abstained')}</td></tr>"
            for name, part in sorted(slices[dimension].items(), key=_bound)
        )
        yield f"<tbody><tr class='group'><th colspan='7'>{dimension.replace('_', ' ')}</th></tr>{rows}</tbody>"


def _bound(part: tuple[str, Any]) -> tuple[float, str]:
    """Ranges in order of their first number; names without one by the alphabet."""
    name = part[0]
    number = re.search(r"\d+", name)
    shift = {"under": -0.5, "over": 0.5}.get(name.partition("-")[0], 0.0)
    return (int(number[0]) + shift if number else 0.0, name)


def _control(figures: Mapping[str, Any], detail: Mapping[str, Any]) -> str:
    if figures["real_vs_real"] is None:
        return "There are fewer than two sources of authentic pictures, so there is nothing to compare."
    first, second = detail["widest"]["sources"]
    return (
        f"Over {detail['pairs']:,} pairs of sources the AUC, .5 or more whichever scores higher, is "
        f"{figures['real_vs_real']:.3f} on average; with pictures dealt to sources of these sizes at random, it would "
        f"be {detail['chance']:.3f}. The widest pair is {escape(first)} against {escape(second)}, AUC "
        f"{detail['widest']['auc']:.3f}."
    )


def _test(name: str, found: Mapping[str, Any]) -> Row:
    back = found["reversed"]
    other = max(0.0, found["changed"] - back)
    return Row(name, (back, other, max(0.0, 1 - back - other)), f"{back:.1%}, crossed {found['crossed']:.1%}")


def _mode(name: str, found: Mapping[str, Any]) -> Row:
    fpr, abstained = found["fpr"], found["abstained"]
    return Row(name, (fpr, abstained, max(0.0, 1 - fpr - abstained)), f"{fpr:.1%} called ai")


def _with_interval(figures: Mapping[str, Any], name: str) -> str:
    ends = figures[f"{name}_ci95"]
    return _number(figures[name]) + (f" <small>{ends[0]:.3f}–{ends[1]:.3f}</small>" if ends else "")


def _worst(tier: Mapping[str, Any]) -> str:
    found = tier["worst_source"]
    which = f"{escape(found['name'])}, n = {found['n_real']:,}" if found["fpr"] else "none lost any"
    return f"<td>{_number(found['fpr'])} <small>{which}</small></td>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
