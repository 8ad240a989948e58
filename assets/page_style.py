"""The style of pages that are one file: no font or picture from elsewhere, light and dark, narrow and wide."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #22252a; --soft: #646b75; --line: #dedbd3;
  --kept: #2f7d5b; --gone: #c8553d; --track: #ece9e1; --mark: #8a6d1d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181b; --card: #1e2125; --ink: #e4e5e7; --soft: #9aa1ab; --line: #343940;
    --kept: #4fae85; --gone: #e07a5f; --track: #2a2e34; --mark: #d9b757;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "PingFang SC", "Microsoft YaHei",
    "Noto Sans CJK SC", sans-serif;
}
h1 { font-size: 1.7rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .25rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
h1 [lang], h2 [lang], h3 [lang], th [lang], dt [lang] { color: var(--soft); font-weight: 400; margin-left: .4em; }
p { margin: .25rem 0 .75rem; }
.soft, .place { color: var(--soft); font-size: .875rem; }
dl.totals {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .75rem; margin: 1.25rem 0;
}
dl.totals div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; }
dt { color: var(--soft); font-size: .875rem; }
dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
dd small { font-size: .875rem; color: var(--soft); margin-left: .3em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: middle; }
th { color: var(--soft); font-weight: 600; font-size: .8125rem; vertical-align: bottom; }
th [lang] { display: block; margin: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.name { white-space: nowrap; }
table.funnel { table-layout: fixed; min-width: 30rem; }
.funnel th { width: 15%; }
.funnel th.name { width: 12.5rem; }
.funnel th.bar { width: auto; }
tr.whole td { font-weight: 600; }
.track { display: flex; height: .85rem; background: var(--track); border-radius: .2rem; overflow: hidden; }
.track i { display: block; background: var(--kept); }
.track i.gone { background: var(--gone); min-width: 1px; }
code { font: .875em ui-monospace, "Cascadia Mono", Menlo, Consolas, "Noto Sans Mono CJK SC", monospace; }
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; }
summary { cursor: pointer; padding: .55rem 1rem; font-weight: 600; }
summary span { color: var(--soft); font-weight: 400; font-size: .875rem; margin-left: .5em; }
article { border-top: 1px solid var(--line); padding: .65rem 1rem .75rem; }
article .place { overflow-wrap: anywhere; }
.measure { font-variant-numeric: tabular-nums; color: var(--mark); font-size: .9375rem; }
blockquote {
  margin: .4rem 0 0; padding: .1rem 0 .1rem .75rem; border-left: 3px solid var(--line);
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 14rem; overflow-y: auto;
}
@media (max-width: 40rem) {
  body { padding: 1.25rem .9rem 3rem; }
  table { font-size: .8125rem; }
  th, td { padding: .3rem .35rem; }
  th { font-size: .6875rem; overflow-wrap: anywhere; }
  table.funnel { min-width: 0; }
  .funnel th { width: 17%; }
  .funnel th.name { width: 34%; }
  .funnel td.name { white-space: normal; overflow-wrap: anywhere; }
}
ul.notes {
  background: var(--card); border-left: 3px solid var(--mark); margin: 1rem 0; padding: .5rem 1rem .5rem 2rem;
}
"""
