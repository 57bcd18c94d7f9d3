"""Pieces of pages that hold everything themselves: no network, no script.

The report of a run and that of a tuning are made of them.
"""

import base64
import html
import re
from collections.abc import Mapping, Sequence

from entrain.run.plots import Plot

_CSS = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --page: #f6f8fa;
  --card: #fff; --edge: #d8dee4; --completed: #1a7f37; --stopped: #9a6700; --failed: #cf222e; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 2.5rem 1.5rem 4rem; color: var(--ink);
  background: var(--page); font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 0.8rem; font-size: 1.2rem; overflow-wrap: anywhere; }
header p { margin: 0.4rem 0 1.4rem; color: var(--soft); }
.outcome { font-weight: 600; }
.completed { color: var(--completed); } .stopped { color: var(--stopped); }
.failed { color: var(--failed); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 0.75rem;
  margin: 0; }
dl div, details { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; }
dl div { padding: 0.6rem 0.9rem 0.7rem; }
dt { color: var(--soft); font-size: 0.8rem; }
dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
dd small { color: var(--soft); font-size: 0.8rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
  gap: 0.9rem; margin-top: 0.9rem; }
.recordings { display: flex; flex-wrap: wrap; gap: 0.9rem; align-items: flex-end; }
.recordings img { width: auto; max-width: 100%; }
figure { margin: 0; padding: 0.6rem; background: #fff; border: 1px solid #d8dee4;
  border-radius: 8px; }
img { display: block; width: 100%; height: auto; }
figcaption { padding: 0.2rem 0.4rem; color: #59636e; font-size: 0.85rem; }
details { margin-top: 2.5rem; padding: 0.7rem 1rem; }
details + details { margin-top: 0.75rem; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; font: 13px/1.45 ui-monospace, Menlo, Consolas, monospace; }
ul { padding-left: 1.2rem; }
.table { overflow-x: auto; background: var(--card); border: 1px solid var(--edge);
  border-radius: 8px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { padding: 0.35rem 0.8rem; text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: 0.8rem; }
tbody tr { border-top: 1px solid var(--edge); }
.warnings { color: var(--stopped); }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --page: #0d1117; --card: #161b22; --edge: #30363d;
    --completed: #3fb950; --stopped: #d29922; --failed: #f85149; }
  .plots figure { filter: invert(0.9) hue-rotate(180deg); }
}
@media print { body { background: none; } details { display: none; } }
"""


def page(title: str, header: str, main: str) -> str:
    """Returns a whole page.

    Args:
        title: as text.
        header: HTML below the title's line.
        main: HTML of everything else.
    """
    name = html.escape(title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} - entrain</title>
<link rel="icon" href="data:,">
<style>{_CSS}</style>
</head>
<body>
<header>
<h1>{name}</h1>
{header}
</header>
{main}
</body>
</html>
"""


def tiles(facts: Mapping[str, str]) -> str:
    """Returns {name: value}, both HTML, as a row of boxes."""
    boxes = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>\n" for name, value in facts.items()
    )
    return f"<dl>\n{boxes}</dl>"


def figure(plot: Plot) -> str:
    """Returns a picture with its caption; words between backquotes are code."""
    encoded = base64.b64encode(plot.png).decode("ascii")
    source = f"data:image/png;base64,{encoded}"
    caption = f"<figcaption>{_code(plot.caption)}</figcaption>"
    return f'<figure><img alt="{html.escape(plot.title)}" src="{source}">{caption}</figure>\n'


def folded(title: str, content: str) -> str:
    """Returns HTML that is shown once its title is clicked."""
    return f"<details>\n<summary>{title}</summary>\n{content}\n</details>"


def bullets(lines: Sequence[str]) -> str:
    """Returns lines of text as a list."""
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def table_of(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table of text, which scrolls sideways where it is too wide."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="table">{table}</div>'


def _code(text: str) -> str:
    """Returns `text` as HTML, with words between backquotes as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text))
