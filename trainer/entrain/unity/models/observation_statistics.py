"""Running statistics of observations, from mlagents-learn's to ours and from ours to theirs.

Both keep a count of rows, their mean and a sum of squared deviations from it. Theirs begins with
one row, of mean 0 and deviation 1, and one count stands beside each sensor.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from entrain.policy.actor_critic import ActorCritic
from entrain.policy.normalization import VARIANCE_EPSILON
from entrain.unity.models.stock_names import ALIASES, PROCESSORS

COUNT, MEAN, SQUARES = "normalization_steps", "running_mean", "running_variance"


def observations_of(policy: ActorCritic) -> Iterator[tuple[int, slice]]:
    """(number of the sensor, where it is among our features) of each vector and goal, in ours."""
    number = {it.name: index for index, it in enumerate(policy.spec.observations)}
    start = 0
    for name, size in policy.normalizer.size_by_name.items():
        yield number[name], slice(start, start + size)
        start += size


def sensor_sizes(theirs: Mapping[str, Tensor]) -> Sequence[int]:
    """How many numbers each sensor has by its statistics; empty if they keep none.

    Args:
        theirs: tensors of an actor.
    """
    numbers = {
        name.removeprefix(f"{PROCESSORS}.").partition(".")[0]
        for name in theirs
        if name.startswith(f"{PROCESSORS}.") and ".normalizer." in name
    }
    means = [f"{PROCESSORS}.{it}.normalizer.{MEAN}" for it in sorted(numbers, key=_by_number)]
    return [theirs[name].numel() if name in theirs else 0 for name in means]


def statistics_misfit(theirs: Mapping[str, Tensor], trained: ActorCritic) -> str:
    """Why statistics are damaged; "" if they are not.

    Args:
        theirs: tensors of an actor.
        trained: the policy of the same sensors, which keeps statistics if they do.
    """
    for sensor, own in observations_of(trained) if sensor_sizes(theirs) else ():
        size = own.stop - own.start
        for kind, numbers in ((COUNT, 1), (MEAN, size), (SQUARES, size)):
            name = _name(PROCESSORS, sensor, kind)
            arrived = theirs[name].numel() if name in theirs else 0
            if arrived != numbers:
                return f"'{name}' has {arrived} numbers, and its first layer needs {numbers}"
            if not bool(torch.isfinite(theirs[name].float()).all()):
                return f"'{name}' holds numbers that are not finite"
        if theirs[_name(PROCESSORS, sensor, COUNT)] < 1 or bool(
            (theirs[_name(PROCESSORS, sensor, SQUARES)] < 0).any()
        ):
            return f"the statistics of sensor {sensor} are of no rows, or of negative variance"
    return ""


@torch.no_grad()
def set_statistics(theirs: Mapping[str, Tensor], policy: ActorCritic) -> None:
    """Take over statistics that `statistics_misfit` finds nothing wrong with."""
    ours = policy.normalizer
    if not policy.config.normalize_observations:
        return
    for sensor, own in observations_of(policy):
        count, mean, squares = (
            theirs[_name(PROCESSORS, sensor, kind)].double().flatten()
            for kind in (COUNT, MEAN, SQUARES)
        )
        ours.count.copy_(count.squeeze())
        ours.mean[own] = mean.to(ours.mean)
        ours.squares[own] = squares.to(ours.squares)
        ours.shift[own] = mean.to(ours.shift)
        ours.scale[own] = (squares / count + VARIANCE_EPSILON).rsqrt().to(ours.scale)


def their_statistics(policy: ActorCritic) -> Mapping[str, Tensor]:
    """Ours under their names, in the order of their files; nothing if the policy keeps none."""
    ours = policy.normalizer
    if not policy.config.normalize_observations:
        return {}
    count = ours.count.clamp(min=1.0)
    # What is added to our variance is none of theirs.
    squares = count * ours.scale.double().pow(-2)
    places = sorted(observations_of(policy), key=lambda place: place[0])
    found: dict[str, Tensor] = {}
    for group in (PROCESSORS, ALIASES):
        for sensor, own in places:
            found[_name(group, sensor, COUNT)] = count.round().long().cpu()
            found[_name(group, sensor, MEAN)] = ours.shift[own].clone().cpu()
            found[_name(group, sensor, SQUARES)] = squares[own].float().cpu()
    return found


def _name(group: str, sensor: int, kind: str) -> str:
    return f"{group}.{sensor}.normalizer.{kind}"


def _by_number(sensor: str) -> tuple[int, str]:
    return len(sensor), sensor
