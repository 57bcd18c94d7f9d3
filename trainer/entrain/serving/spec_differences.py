"""Describes the differences between two specs of one behaviour, in a few words each."""

from collections.abc import Sequence

from entrain.quoting import shortened
from entrain_envs.spec import BehaviourSpec, ObservationSpec


def spec_differences(theirs: BehaviourSpec, ours: BehaviourSpec) -> Sequence[str]:
    """How a simulator's spec differs from the run's; the most telling difference first.

    Args:
        theirs: the simulator's.
        ours: the run's, of the same name.
    """
    sent = {each.name: each for each in theirs.observations}
    known = {each.name: each for each in ours.observations}
    changed = [
        f"observation '{name}' is {_form(sent[name])} and was {_form(known[name])}"
        for name in known
        if name in sent and sent[name] != known[name]
    ]
    added = [
        f"observation '{name}', {_form(sent[name])}, is new" for name in sent if name not in known
    ]
    missing = [
        f"observation '{name}', {_form(known[name])}, is missing"
        for name in known
        if name not in sent
    ]
    differences = changed + added + missing
    if not differences and list(sent) != list(known):
        first = next(i for i, pair in enumerate(zip(sent, known, strict=True)) if len({*pair}) > 1)
        differences.append(
            f"observation {first + 1} is '{list(sent)[first]}' and was '{list(known)[first]}': "
            "their order is another"
        )
    if theirs.action != ours.action:
        action = f"it acts with {shortened(str(theirs.action))}, and did with "
        differences.insert(0, action + shortened(str(ours.action)))
    return differences


def _form(observation: ObservationSpec) -> str:
    """`float32[2]`, with its kind if that is not what its shape suggests."""
    return str(observation).removeprefix(f"{observation.name}: ")
