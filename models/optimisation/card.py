"""The model card's section on how the model runs."""

from __future__ import annotations

from models.optimisation.report import Optimisation

_HEADING = "## Optimisation"


def extended(card: str, report: Optimisation, *, was: str) -> str:
    """The card with a section on what was measured, in place of an older one.

    Args:
        card: The text of `MODEL_CARD.md`.
        report: What was measured.
        was: The precision that the rest of the card was written for.
    """
    before, _, after = card.partition(f"{_HEADING}\n")
    _, more, rest = after.partition("\n## ")
    pick, here = report.pick, report.machine
    lines = [
        _HEADING,
        "",
        f"Runs {pick}. Measured on {here.processor}, {here.cores} core(s) ({', '.join(here.flags) or 'no vector'}), "
        f"ONNX Runtime {here.onnxruntime}, on {report.pictures.n} pictures ({', '.join(report.pictures.data)}), in "
        f"`optimisation.json`.",
        "",
        "| precision | provider | KiB | AUC | difference (95 %) | largest change of p | verdicts changed |",
        "|---|---|---|---|---|---|---|",
    ]
    for variant in report.variants:
        ends = variant.auc_difference_ci95
        span = f" ({ends[0]:+.4f} to {ends[1]:+.4f})" if ends else ""
        lines.append(
            f"| {variant.precision} | {variant.provider} | {variant.size_bytes / 1024:.0f} | {variant.auc:.4f} "
            f"| {variant.auc_difference:+.4f}{span} | {variant.largest_change:.3f} | {variant.verdicts_changed:.1%} |"
        )
    lines += ["", f"Calibration {report.calibration}."]
    if pick.precision != was:
        lines.append(
            f"Every other figure of this card, and the error rates that the thresholds were set at, were measured in "
            f"{was}, before this step; `veristream models evaluate` measures this bundle as it is."
        )
    return before.rstrip("\n") + "\n\n" + "\n".join(lines) + "\n" + (f"\n## {rest}" if more else "")
