"""The page of suspects: what alarmed, and the uploads that look newest, on one sheet that needs nothing else."""

from collections.abc import Sequence
from html import escape
from string import Template

from drift.suspects import Suspect
from stream.events import ComponentDrift, DriftReport

_SHOWN = 12
_FULL = 4.0
_ROWS = 16
_THOUSAND = 1000.0

_STYLE = """
:root { color-scheme: light dark; --ground: #fbfaf8; --card: #fff; --ink: #1d2430; --soft: #667085; --rule: #e4e2dd;
  --loud: #c2410c; --calm: #2f7d6d; --unsure: #8a6d1f; --bed: #f1efea }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --card: #1c2027; --ink: #e6e8ec; --soft: #98a2b3;
  --rule: #2e343d; --loud: #f0763a; --calm: #4fb3a0; --unsure: #e0a94a; --bed: #242932 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.55 system-ui, "DejaVu Sans", sans-serif }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 80px }
h1 { font-size: 28px; margin: 0 0 4px } h2 { font-size: 19px; margin: 40px 0 10px }
p { margin: 6px 0; max-width: 80ch } .soft, small { color: var(--soft) } code { font-size: 12px }
.why { border-left: 4px solid var(--loud); padding: 10px 16px; margin: 22px 0; background: var(--card);
  border-radius: 0 10px 10px 0; max-width: none; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 13px }
th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--rule) } td.n { white-space: nowrap }
td.bar { width: 34% } .bed { position: relative; height: 10px; background: var(--bed); border-radius: 5px }
.bed i { position: absolute; inset: 0 auto 0 0; background: var(--calm); border-radius: 5px }
.bed i.over { background: var(--loud) } .bed b { position: absolute; top: -3px; bottom: -3px; width: 2px; left: 25%;
  background: var(--ink) }
a { color: inherit } summary { margin: 14px 0; color: var(--soft); cursor: pointer }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 16px }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 12px; overflow: hidden;
  display: flex; flex-direction: column }
.frame { aspect-ratio: 1; background: var(--bed); display: grid; place-items: center; overflow: hidden }
.frame img { width: 100%; height: 100%; object-fit: contain; display: block }
.frame span { padding: 18px; text-align: center; color: var(--soft); font-size: 13px }
figcaption { padding: 10px 12px 12px; font-size: 13px; line-height: 1.45 }
figcaption code { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.tag { display: inline-block; padding: 0 8px; border-radius: 9px; font-size: 12px; color: #fff;
  background: var(--soft) }
.tag.ai_generated { background: var(--loud) } .tag.authentic { background: var(--calm) }
.tag.uncertain { background: var(--unsure) }
@media (prefers-color-scheme: dark) { .tag { color: #14171c } }
"""

_PAGE = Template(f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Drift alarm: suspects</title><style>{_STYLE}</style></head><body><main>
<h1>$found</h1>
<p class="soft">Alarm of $at over $size embeddings from $first to $last.<br>Model <code>$model</code>,
reference <code>$reference</code>, report <code>$report</code>.$evidently</p>
<p class="why">$reason</p>
<div class="sheet">$cards</div>
<h2>What was measured</h2>
<p class="soft">The mark is the threshold: what the figure reaches by chance while nothing changes. A full bar is four
times as much. The maximum mean discrepancy (mmd) is watched beside the others and never alarms.</p>
$tables
</main></body></html>
""")
_TABLE = Template("""<table><thead><tr><th>Column</th><th>Statistic</th><th>Value</th><th>Threshold</th><th></th></tr>
</thead><tbody>$rows</tbody></table>""")

_NOBODY = '<p class="soft">No single upload stands out: the window as a whole has moved.</p>'


def render(report: DriftReport, suspects: Sequence[Suspect]) -> str:
    """The page as one HTML file; everything that came from outside is escaped."""
    window, many = report.window, len(suspects)
    figures = sorted(report.components, key=lambda part: part.threshold / max(part.value, 1e-12))
    return _PAGE.substitute(
        found=f"{many} uploads that look new" if many != 1 else "One upload that looks new",
        at=f"{report.at:%Y-%m-%d %H:%M:%S} UTC",
        size=f"{window.size:,}",
        first=f"{window.first_at:%H:%M:%S}" if window.first_at else "?",
        last=f"{window.last_at:%H:%M:%S}" if window.last_at else "?",
        model=escape(report.model_digest[:_SHOWN]),
        reference=escape(report.reference[:_SHOWN]),
        report=escape(report.report_id[:_SHOWN]),
        reason=escape(report.reason),
        cards="".join(map(_card, suspects)) or _NOBODY,
        evidently='<br><a href="report.html">Every column in Evidently\'s report</a>' if report.report_uri else "",
        tables=_tables(figures),
    )


def _tables(figures: Sequence[ComponentDrift]) -> str:
    """Those nearest to their thresholds, or beyond; a model's other columns are folded away."""
    shown = max(_ROWS, sum(part.alarmed for part in figures))
    first, rest = (_TABLE.substitute(rows="".join(map(_row, part))) for part in (figures[:shown], figures[shown:]))
    more = len(figures) - shown
    return first + (
        f"<details><summary>{more} more, farther from their thresholds</summary>{rest}</details>" * (more > 0)
    )


def _card(suspect: Suspect) -> str:
    width, height = suspect.size
    picture = (
        f'<img src="{escape(suspect.thumbnail)}" alt="Upload {escape(suspect.upload_id)}">'
        if suspect.thumbnail
        else f"<span>{escape(suspect.missing)}</span>"
    )
    fact, said = suspect.fact, ""
    if fact is not None:
        dimensions = f" · {width}×{height}" if width else ""
        said = (
            f'<span class="tag {escape(fact.verdict)}">{escape(fact.verdict.replace("_", " "))}</span> '
            f"p = {fact.p_ai:.2f}<br><small>{escape(fact.tenant)} · {fact.decided_at:%H:%M:%S}{dimensions}</small>"
        )
    name = escape(suspect.upload_id)
    words = f'<figcaption><code title="{name}">{name}</code>{said}</figcaption>'
    return f'<figure><div class="frame">{picture}</div>{words}</figure>'


def _row(part: ComponentDrift) -> str:
    excess = part.value / part.threshold if part.threshold > 0 else 0.0
    width = max(0.0, min(100.0, 100.0 * excess / _FULL))
    over = ' class="over"' if part.alarmed else ""
    bar = f'<div class="bed"><i{over} style="width:{width:.1f}%"></i><b></b></div>'
    return (
        f'<tr><td>{escape(part.name)}</td><td class="n"><small>{escape(part.statistic)}</small></td>'
        f'<td class="n">{_number(part.value)}</td><td class="n">{_number(part.threshold)}</td>'
        f'<td class="bar">{bar}</td></tr>'
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= _THOUSAND else f"{value:.4g}"
