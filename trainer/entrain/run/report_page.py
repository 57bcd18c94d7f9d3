"""Renders the report as one HTML page with everything in it: no network, no script."""

import base64
import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from entrain.run.plots import Plot
from entrain.run.quantities import compact, counted, duration, number
from entrain.run.report_recordings import Recording, render_recordings
from entrain.run.summary import PolicySummary, RunSummary

_OUTCOMES = {
    "completed": "Every policy has done its total steps.",
    "stopped": "Stopped on request; <code>entrain info</code> names the command that goes on.",
    "failed": "Ended by an error; see log.txt.",
}

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
.warnings { color: var(--stopped); }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --page: #0d1117; --card: #161b22; --edge: #30363d;
    --completed: #3fb950; --stopped: #d29922; --failed: #f85149; }
  .plots figure { filter: invert(0.9) hue-rotate(180deg); }
}
@media print { body { background: none; } details { display: none; } }
"""


@dataclass(frozen=True)
class Section:
    """One policy's part of the page."""

    behaviour: str

    summary: PolicySummary | None
    """None if there are only metrics of it."""

    final_return: float
    """Mean over the last episodes; NaN if none ended."""

    plots: Sequence[Plot]

    best_evaluation: tuple[float, int] | None = None
    """Its mean return, and env steps then; None if there was none."""


def render_page(
    summary: RunSummary,
    sections: Sequence[Section],
    recordings: Sequence[Recording] = (),
    *,
    config: str,
) -> str:
    """Returns the whole page.

    Args:
        summary: of the run.
        sections: one for each policy.
        recordings: animations of the agents.
        config: the resolved configuration, as YAML.
    """
    name = html.escape(summary.name)
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
<p><span class="outcome {summary.outcome}">{summary.outcome}</span> {_why(summary)}</p>
{_tiles(_run_facts(summary))}
</header>
<main>
{render_recordings(recordings)}{_sections(sections)}
</main>
{_folded("Simulators and software", _bullets(_counts(summary)))}
{_folded("Configuration", f"<pre>{html.escape(config)}</pre>")}
</body>
</html>
"""


def _why(summary: RunSummary) -> str:
    """Returns a sentence, as HTML: how the run ended."""
    reached = summary.outcome == "completed" and summary.reached
    if not reached:
        return _OUTCOMES[summary.outcome]
    return f"{html.escape(reached[:1].upper() + reached[1:])}."


def _run_facts(summary: RunSummary) -> Mapping[str, str]:
    rate = summary.env_steps / summary.seconds if summary.seconds > 0 else math.nan
    return {
        **_times(summary),
        "time training": duration(summary.seconds),
        "env steps": f"{summary.env_steps:,}",
        "env steps/s, overall": number(rate, ",.0f"),
    }


def _times(summary: RunSummary) -> Mapping[str, str]:
    moments = {"started": _moment(summary.started_at), "ended": _moment(summary.ended_at)}
    return {
        f"{event} ({html.escape(moment.strftime('%Z'))})": f"{moment:%Y-%m-%d %H:%M}"
        for event, moment in moments.items()
    }


def _sections(sections: Sequence[Section]) -> str:
    return "".join(map(_section, sections)) or "<p>No update was made.</p>"


def _section(section: Section) -> str:
    figures = "".join(_figure(plot) for plot in section.plots)
    return f"""<section>
<h2>{html.escape(section.behaviour)}</h2>
{_tiles(_policy_facts(section))}
{_warnings(section)}<div class="plots">
{figures}</div>
</section>
"""


def _warnings(section: Section) -> str:
    if section.summary is None or not section.summary.warnings:
        return ""
    return f'<div class="warnings">{_bullets(section.summary.warnings)}</div>\n'


def _policy_facts(section: Section) -> Mapping[str, str]:
    ended = math.isfinite(section.final_return)
    facts = {"final return": number(section.final_return, ",.1f") if ended else "no episode ended"}
    if section.best_evaluation is not None:
        value, steps = section.best_evaluation
        best = number(value, ",.1f")
        facts["best evaluation"] = f"{best} <small>at {compact(steps)} env steps</small>"
    if section.summary is not None:
        progress, total = section.summary.progress, section.summary.total_steps
        percent = math.floor(100 * progress.fraction(total))
        facts["env steps"] = (
            f"{progress.env_steps:,} <small>{percent} % of {compact(total)}</small>"
        )
        facts["updates"] = f"{progress.updates:,}"
        facts["episodes"] = f"{progress.episodes:,}"
    return facts


def _tiles(facts: Mapping[str, str]) -> str:
    tiles = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>\n" for name, value in facts.items()
    )
    return f"<dl>\n{tiles}</dl>"


def _figure(plot: Plot) -> str:
    encoded = base64.b64encode(plot.png).decode("ascii")
    source = f"data:image/png;base64,{encoded}"
    caption = f"<figcaption>{_code(plot.caption)}</figcaption>"
    return f'<figure><img alt="{html.escape(plot.title)}" src="{source}">{caption}</figure>\n'


def _code(text: str) -> str:
    """Returns `text` as HTML, with words between backquotes as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text))


def _folded(title: str, content: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n{content}\n</details>"


def _counts(summary: RunSummary) -> Sequence[str]:
    """Returns lines: which simulators took part, how far lessons came, what became of every step,
    which software ran.
    """
    ledgers = [
        f"steps of '{behaviour}': "
        + ", ".join(f"{n:,} {fate}" for fate, n in policy.ledger.items())
        for behaviour, policy in summary.policies.items()
        if policy.ledger
    ]
    counters = [
        f"{name.replace('_', ' ')}: {count:,}" for name, count in summary.counters.items() if count
    ]
    lost = [f"lost at {counted(summary.lost.resumes, 'resume')}, and done again: {summary.lost}"]
    lessons = [
        f"environment parameter '{name}' is in lesson {words}"
        for name, words in summary.lessons.items()
    ]
    return [
        *summary.simulators,
        *lessons,
        *ledgers,
        *counters,
        *(lost if summary.lost else []),
        *summary.software,
    ]


def _bullets(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _moment(seconds: float) -> datetime:
    """Returns local time with its zone: the page may be read elsewhere."""
    return datetime.fromtimestamp(seconds).astimezone()
