"""Renders the report as one HTML page with everything in it: no network, no script."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from entrain.metric import number
from entrain.run.page_parts import bullets, figure, folded, page, tiles
from entrain.run.plots import Plot
from entrain.run.quantities import compact, counted, duration
from entrain.run.report_recordings import Recording, render_recordings
from entrain.run.summary import PolicySummary, RunSummary

_OUTCOMES = {
    "completed": "Every policy has done its total steps.",
    "stopped": "Stopped on request; <code>entrain info</code> names the command that goes on.",
    "failed": "Ended by an error; see log.txt.",
}


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
    outcome = f'<span class="outcome {summary.outcome}">{summary.outcome}</span>'
    return page(
        summary.name,
        f"<p>{outcome} {_why(summary)}</p>\n{tiles(_run_facts(summary))}",
        f"""<main>
{render_recordings(recordings)}{_sections(sections)}
</main>
{folded("Simulators and software", bullets(_counts(summary)))}
{folded("Configuration", f"<pre>{html.escape(config)}</pre>")}""",
    )


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
    figures = "".join(figure(plot) for plot in section.plots)
    return f"""<section>
<h2>{html.escape(section.behaviour)}</h2>
{tiles(_policy_facts(section))}
{_warnings(section)}<div class="plots">
{figures}</div>
</section>
"""


def _warnings(section: Section) -> str:
    if section.summary is None or not section.summary.warnings:
        return ""
    return f'<div class="warnings">{bullets(section.summary.warnings)}</div>\n'


def _policy_facts(section: Section) -> Mapping[str, str]:
    ended = math.isfinite(section.final_return)
    final = f"{number(section.final_return, ',.1f')} <small>over the last tenth</small>"
    facts = {"final return": final if ended else "no episode ended"}
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


def _moment(seconds: float) -> datetime:
    """Returns local time with its zone: the page may be read elsewhere."""
    return datetime.fromtimestamp(seconds).astimezone()
