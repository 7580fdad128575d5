"""The report's page: words and style around what `models.evaluation.report` fills in."""

_STYLE = """
:root { color-scheme: light dark; --ground: #fbfaf8; --card: #fff; --ink: #1d2430; --soft: #667085; --rule: #e4e2dd;
  --ai: #c2410c; --unsure: #d6c9a8; --authentic: #2f7d6d; --clean: #1f4e8c; --web: #b7791f; --hard: #a3324e; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --card: #1c2027; --ink: #e6e8ec; --soft: #98a2b3;
  --rule: #2e343d; --ai: #f0763a; --unsure: #6b6250; --authentic: #4fb3a0; --clean: #6ea8f0; --web: #e0a94a;
  --hard: #e87a94; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.55 system-ui, "DejaVu Sans", sans-serif }
main { max-width: 860px; margin: 0 auto; padding: 40px 24px 80px }
h1 { font-size: 28px; margin: 0 0 4px } h2 { font-size: 19px; margin: 44px 0 6px }
p { margin: 6px 0 14px; max-width: 72ch } .soft, small { color: var(--soft) } code { font-size: 12px }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(125px, 1fr)); gap: 12px; margin: 26px 0 }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px }
.tile b { display: block; font-size: 24px; font-variant-numeric: tabular-nums } .tile span { display: block }
.tile span { font-size: 13px; line-height: 1.3 } .tile small { font-variant-numeric: tabular-nums }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 18px; overflow-x: auto }
.card + .card { margin-top: 16px } .pair .card + .card { margin-top: 0 }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 16px }
.pair h3 { margin: 0 0 8px; font-size: 15px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 500 } thead th { color: var(--soft); font-size: 13px }
th, td { padding: 6px 10px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: baseline }
td small { white-space: nowrap } tr.group th { padding-top: 16px; font-weight: 650 }
tr.group th::first-letter { text-transform: uppercase }
svg { display: block; width: 100%; height: auto } svg text { fill: var(--ink); font-size: 12px }
svg .tick, svg .axis { fill: var(--soft); text-anchor: middle } svg .right, svg .name { text-anchor: end }
svg .frame { fill: none; stroke: var(--rule) } .grid { stroke: var(--rule) } .rule { stroke: var(--soft) }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round } .chance { stroke: var(--soft); stroke-width: 1 }
.curve.clean { stroke: var(--clean) } .curve.web { stroke: var(--web) } .curve.hard { stroke: var(--hard) }
.dot.clean { fill: var(--clean) } .dot.web { fill: var(--web) } .dot.hard { fill: var(--hard) }
.dot { fill-opacity: .8 } .whisker { stroke: var(--clean); stroke-width: 2; opacity: .45 } .point { fill: var(--clean) }
.called-ai, .reversed { fill: var(--ai); background: var(--ai) }
.called-uncertain, .changed { fill: var(--unsure); background: var(--unsure) }
.called-authentic { fill: var(--authentic); background: var(--authentic) }
.unmoved { fill: var(--rule); background: var(--rule) }
.key { margin-right: 18px; font-size: 13px }
.key i { display: inline-block; width: 12px; height: 12px; margin-right: 6px;
  border-radius: 3px; vertical-align: -1px } i.clean { background: var(--clean) } i.web { background: var(--web) }
i.hard { background: var(--hard) } .legend { margin: 0 0 10px }
"""

_VERDICTS = """<p class="legend"><span class="key"><i class="called-ai"></i>ai_generated</span><span class="key"><i
class="called-uncertain"></i>uncertain</span><span class="key"><i class="called-authentic"></i>authentic</span></p>"""

PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title, evaluated</title><style>{_STYLE}</style></head><body><main>
<h1>$title</h1>
<p class="soft">$counted.<br>$data; seed $seed; $provider.<br><code>$digest</code></p>
<div class="tiles">$tiles</div>
<p>Called <b>ai_generated</b> above p = $above and <b>authentic</b> below p = $below; between them it says
<b>uncertain</b>. Within each class every source weighs the same, so that one large or easy source cannot carry a
figure. Intervals are 95 % bootstraps that draw pictures again within sources; they do not cover the choice of
sources, and 0 to 0 only says that none of n was seen (up to about 3/n may be there).</p>

<h2>Delivery tiers</h2>
<p class="soft">Clean: the file as it is. Web: long side at most 768, JPEG q60. Hard: reduced to .6, at most
512, JPEG q40.</p>
<div class="card"><table><thead><tr><th></th>$heads</tr></thead><tbody>$table</tbody></table></div>

<h2>Curves</h2>
<div class="legend">$legend</div>
<div class="pair"><div class="card"><h3>ROC</h3>$roc</div><div class="card"><h3>Reliability</h3>$reliability</div></div>

<h2>Verdicts by source</h2>
{_VERDICTS}
<p class="soft">Clean tier. Each figure is the share called ai_generated.</p>
<div class="card">$verdicts</div>

<h2>AUC by source</h2>
<p class="soft">Clean tier. A source with one class only is set against all pictures of the other class.</p>
<div class="card">$areas</div>

<h2>Real against real</h2>
<p>A detector should not tell one source of authentic pictures from another. $control</p>

<h2>Slices</h2>
<p class="soft">Clean tier; * one class only, set against all pictures of the other.</p>
$parts
<div class="card"><table><thead><tr><th></th><th>pictures</th><th>fake</th><th>AUC</th><th>FPR</th><th>FNR</th>
<th>abstained</th></tr></thead>$slices</table></div>

$robustness
</main></body></html>
"""

ROBUSTNESS = f"""<h2>Does passing it on change the verdict?</h2>
<p class="legend"><span class="key"><i class="reversed"></i>reversed</span>
<span class="key"><i class="changed"></i>to or from uncertain</span>
<span class="key"><i class="unmoved"></i>the same</span></p>
<p class="soft">Each figure is the share reversed between ai_generated and authentic, then the share whose score crossed
even odds.</p>
<div class="card">$tests</div>

<h2>Known failure modes</h2>
{_VERDICTS}
<p class="soft">Authentic pictures only: as they are, changed as named (simulated), and those of every zip or folder
that holds no others, as one of human-made art does.</p>
<div class="card">$modes</div>"""

UNTESTED = """<h2>Does passing it on change the verdict?</h2>
<p class="soft">The metamorphic tests and failure modes were left out of this run.</p>"""
