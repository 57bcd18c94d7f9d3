"""How long the kit waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds, for one check."""

    hello_s: float = 10.0
    """For the Hello of a stream that was opened."""

    step_s: float = 20.0
    """For the next Step."""

    second_step_s: float = 0.5
    """For a second Step while the first has no Act."""

    late_s: float = 2.0
    """How late the Act comes that comes late."""

    dial_s: float = 30.0
    """For a simulator to dial again after its stream broke."""

    goodbye_s: float = 5.0
    """For Goodbye, and for the end of a stream."""

    quiet_s: float = 5.0
    """How long a simulator that must stay away is watched."""

    silence_s: float = 45.0
    """For an Inquire, which is due after 30."""

    pause_s: float = 0.02
    """Two dials closer to each other than this are dials without a pause."""

    min_steps: int = 16
    """Steps of ordinary play, at least."""

    max_steps: int = 300
    """At most, if not enough episodes end before."""

    episodes: int = 8
    """Ends of episodes that are enough."""
