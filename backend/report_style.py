"""The look of a report: plain, and as readable on paper as on a screen."""

__all__ = ["STYLE"]

STYLE = """
:root { --ink: #1c1f24; --soft: #5c6370; --line: #d9dce1; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; color: var(--ink);
  background: #fff; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { margin: 0; font-size: 1.7rem; }
h2 { margin: 2.5rem 0 .4rem; padding-top: .8rem; border-top: 1px solid var(--line);
  font-size: 1.2rem; }
h3 { margin: 1.6rem 0 .2rem; font-size: 1rem; }
p { margin: .4rem 0; }
.about, figcaption, .row p, .legend { color: var(--soft); font-size: .82rem; }
table { width: 100%; margin: 1.2rem 0; border-collapse: collapse; font-size: .82rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .45rem; border-bottom: 1px solid var(--line); text-align: right; }
th { vertical-align: bottom; border-bottom-color: var(--ink); font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.2rem 0; break-inside: avoid; }
figure svg { width: 100%; height: auto; }
.row { display: grid; grid-template-columns: repeat(4, 1fr); gap: .4rem; margin-bottom: .6rem;
  break-inside: avoid; }
.row img { width: 100%; display: block; }
.row p { grid-column: 1 / -1; margin: 0; }
.head { font-size: .82rem; margin-bottom: .2rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h3 { break-after: avoid; }
}
"""
