"""How the report looks."""

CSS = """
:root { --ink: #1d2733; --muted: #5d6b7a; --line: #dde3e8; --soft: #f5f7f9; --accent: #1f6f8b;
  --good: #2f7d4f; --bad: #b3372f; --warn: #9a6b12; --page: #fff; --badge: #e9edf1; --good-soft: #e3f2e8;
  --bad-soft: #fbe6e3; --warn-soft: #faf0da; --again: #dd9d10; color-scheme: light; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #dfe5ea; --muted: #93a1ae; --line: #313a43; --soft: #1e252c; --accent: #58abc9;
    --good: #74c596; --bad: #f08a80; --warn: #dcb05c; --page: #14191e; --badge: #2a333c; --good-soft: #1c3526;
    --bad-soft: #43211e; --warn-soft: #3a2f17; --again: #e3b04b; color-scheme: dark; }
}
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--page); line-height: 1.45;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.75rem; margin: 0 0 2px; letter-spacing: -0.01em; }
h2 { font-size: 1.15rem; margin: 38px 0 10px; }
h3 { font-size: 1.1rem; margin: 0; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.muted { color: var(--muted); }
.small { font-size: 0.85rem; }
.summary { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0 0; }
.summary div { background: var(--soft); border-radius: 8px; padding: 9px 15px; min-width: 108px; }
.summary b { display: block; font-size: 1.2rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.summary span { color: var(--muted); font-size: 0.82rem; }
.summary .bad b { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; font-size: 0.82rem; color: var(--muted); white-space: nowrap; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; }
td:last-child, th:last-child { padding-right: 0; }
td.nowrap { white-space: nowrap; }
.badge { display: inline-block; padding: 0 9px; border-radius: 10px; font-size: 0.8rem; font-weight: 600;
  color: var(--muted); background: var(--badge); white-space: nowrap; }
.badge.done, .badge.cached { color: var(--good); background: var(--good-soft); }
.badge.failed { color: var(--bad); background: var(--bad-soft); }
.badge.blocked, .badge.interrupted { color: var(--warn); background: var(--warn-soft); }
.pair { border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px; margin: 16px 0; }
.pair header { display: flex; flex-wrap: wrap; gap: 4px 14px; align-items: baseline; margin-bottom: 12px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(225px, 1fr)); gap: 12px; }
.pictures a { display: block; border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }
.pictures img { display: block; width: 100%; height: auto; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 6px 36px; }
.columns > * { margin-top: 14px; min-width: 0; }
.columns td, .columns th { padding-top: 3px; padding-bottom: 3px; font-size: 0.88rem; overflow-wrap: anywhere; }
.columns td:first-child { white-space: nowrap; overflow-wrap: normal; }
.facts td:first-child { color: var(--muted); }
.bar { display: block; height: 5px; margin-top: 9px; border-radius: 3px; background: var(--accent); opacity: 0.65; }
.bars { width: 30%; }
.timeline { max-width: none; min-width: 720px; }
.legend { display: flex; flex-wrap: wrap; gap: 3px 18px; font-size: 0.85rem; color: var(--muted); margin-top: 4px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin-right: 6px;
  vertical-align: -1px; }
.legend .failed { background: var(--bad); }
.legend .again { background: var(--again); }
.legend .used { background: var(--accent); opacity: 0.4; }
.legend .reserved, .legend .budget { width: 22px; height: 0; border-radius: 0; vertical-align: 4px; }
.legend .reserved { border-top: 2px solid var(--accent); }
.legend .budget { border-top: 2px dashed var(--muted); }
.error { background: var(--bad-soft); border-left: 4px solid var(--bad); padding: 9px 14px; margin: 0 0 10px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
pre { background: var(--soft); border-radius: 6px; padding: 10px 14px; margin: 10px 0 0; overflow-x: auto;
  font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
svg { display: block; width: 100%; max-width: 880px; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--muted); }
svg .grid { stroke: var(--line); }
svg .axis { fill: none; stroke: var(--muted); }
svg .ink { fill: var(--ink); }
svg .pair-done { stroke: var(--accent); stroke-width: 2; }
svg .pair-failed { stroke: var(--bad); stroke-width: 1.5; }
svg path.failed { stroke: var(--bad); }
svg path.again { stroke: var(--again); }
svg .used { fill: var(--accent); opacity: 0.4; }
svg .reserved { fill: none; stroke: var(--accent); stroke-width: 1.5; }
svg .budget { fill: none; stroke: var(--muted); stroke-width: 1.5; stroke-dasharray: 5 4; }
footer { margin-top: 44px; color: var(--muted); font-size: 0.85rem; }
@media (max-width: 560px) {
  main { padding: 18px 12px 40px; }
  .pair { padding: 14px 12px; }
  .summary div { flex: 1 1 40%; }
  .pictures { grid-template-columns: 1fr 1fr; gap: 8px; }
  .columns { grid-template-columns: 1fr; }
  .bars { display: none; }
}
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .pair, tr, .pictures a { break-inside: avoid; }
  .pictures { grid-template-columns: repeat(4, 1fr); }
  .scroll { overflow: visible; }
  pre { white-space: pre-wrap; }
}
"""
