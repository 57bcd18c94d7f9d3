"""Where the server's own time goes."""

from dataclasses import dataclass


@dataclass
class Seconds:
    """Seconds of the event loop's time since the start. Only grows."""

    decode: float = 0.0
    """Reading and checking what simulators send."""

    encode: float = 0.0
    """Writing what they are answered."""
