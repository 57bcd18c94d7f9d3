"""One-line messages about wrong outcomes of a PettingZoo environment's methods."""

from collections.abc import Mapping
from typing import Any

from entrain_envs.faults import quoted

_OLD = "which is the API of PettingZoo before 1.23"


def parallel_reset_fault(outcome: Any) -> str:
    """Says what is wrong with the outcome of a parallel environment's `reset`; "" if nothing is."""
    expected = "let it return ({agent: observation}, {agent: info})"
    if isinstance(outcome, Mapping):
        return f"`reset` returned observations alone, {_OLD}; {expected}"
    if not isinstance(outcome, tuple) or len(outcome) != 2:
        return f"`reset` returned {_kind(outcome)}; {expected}"
    for name, part in zip(("observations", "infos"), outcome, strict=True):
        if not isinstance(part, Mapping):
            return f"the {name} that `reset` returned are {type(part)}; {expected}"
    return ""


def parallel_step_fault(outcome: Any) -> str:
    """Says what is wrong with the outcome of a parallel environment's `step`; "" if nothing is."""
    expected = "let it return ({agent: observation}, rewards, terminations, truncations, infos)"
    if isinstance(outcome, tuple) and len(outcome) == 4:
        return f"`step` returned 4 values, {_OLD}; {expected}"
    if not isinstance(outcome, tuple) or len(outcome) != 5:
        return f"`step` returned {_kind(outcome)}; {expected}"
    names = ("observations", "rewards", "terminations", "truncations", "infos")
    for name, part in zip(names, outcome, strict=True):
        if not isinstance(part, Mapping):
            return (
                f"the {name} that `step` returned are {quoted(part)}; expected a dict with one for "
                "each agent"
            )
        lacking = outcome[0].keys() - part.keys()
        if lacking and name != "infos":
            return f"the {name} that `step` returned lack {', '.join(sorted(map(str, lacking)))}"
    return ""


def last_fault(outcome: Any) -> str:
    """Says what is wrong with the outcome of an AEC environment's `last`; "" if nothing is."""
    expected = "let it return (observation, reward, terminated, truncated, info)"
    if isinstance(outcome, tuple) and len(outcome) == 4:
        return f"`last` returned 4 values, {_OLD}; {expected}"
    if not isinstance(outcome, tuple) or len(outcome) != 5:
        return f"`last` returned {_kind(outcome)}; {expected}"
    return ""


def _kind(outcome: Any) -> str:
    return f"a tuple of {len(outcome)}" if isinstance(outcome, tuple) else f"{type(outcome)}"
