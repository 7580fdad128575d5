"""A snapshot with something in every place."""

from dataclasses import replace

from compose.share import Share
from compose.snapshot import FamilyLine, Percentiles, Setting, Snapshot, VerdictLine, WorkerLine


def snapshot(**changes: object) -> Snapshot:
    """A session that has run for a while; ``changes`` replace fields."""
    lines = tuple(
        VerdictLine(f"0190-{number:012d}", verdict, p_ai, truth, family, 20.0 + number)
        for number, (verdict, p_ai, truth, family) in enumerate(
            [
                ("ai_generated", 0.97, "ai_generated", "deconvolution"),
                ("authentic", 0.03, "authentic", "camera"),
                ("uncertain", 0.55, "authentic", "camera"),
                ("ai_generated", 0.91, "authentic", "camera"),
                ("authentic", 0.12, None, ""),
            ]
        )
    )
    whole = Snapshot(
        setting=Setting(
            broker="embedded broker 127.0.0.1:41233",
            pictures="simulated scenes, not real photographs",
            bundle_name="first",
            bundle_digest="9f3ac1d2e4" * 6,
            delivery="exactly_once",
            limits="broker in memory",
        ),
        elapsed_s=83.2,
        phase="steady",
        uploads=4233,
        verdicts=4221,
        outstanding=12,
        duplicated=0,
        dlq=3,
        uploads_per_s=tuple(float(40 + second % 9) for second in range(120)),
        verdicts_per_s=tuple(float(40 + second % 7) for second in range(120)),
        median_ms=tuple(float(20 + second % 5) for second in range(120)),
        latency=Percentiles(23.4, 48.2, 92.1),
        accuracy=Share(0.931, 0.918, 0.943, 4001),
        fpr=Share(0.021, 0.012, 0.034, 2100),
        coverage=Share(0.88, 0.87, 0.89, 4221),
        families=(
            FamilyLine("deconvolution", "ai_generated", 160, 1, 12),
            FamilyLine("camera", "authentic", 590, 12, 66),
        ),
        recent=lines,
        worker=WorkerLine(
            "ready", 12345, 0, "CPUExecutionProvider", 312.4, ((1, 120), (2, 340), (4, 0), (float("inf"), 2)), 1.7, 4
        ),
    )
    return replace(whole, **changes)
