"""Options that change over a run, as pure functions of its progress."""

from entrain.config.fields import Schedule


def scheduled(initial: float, schedule: Schedule, *, progress: float) -> float:
    """The value now.

    Args:
        initial: the value at the start of the run.
        schedule: constant, or linear to zero at the end.
        progress: in [0, 1], the part of the run's env steps that is done.
    """
    match schedule:
        case "constant":
            return initial
        case "linear":
            return initial * (1.0 - progress)
