"""Formats amounts and times for people, in few characters."""

import math


def counted(amount: int, noun: str) -> str:
    """Returns `1 agent`, `2,048 agents`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def compact(steps: int) -> str:
    """Returns three digits and a unit: 950, 62.0k, 1M, 1.25M. Rounds down: 999,999 is 999k."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if steps >= size:
            whole, rest = divmod(steps, size)
            decimals = 0 if rest == 0 or whole >= 100 else 1 if whole >= 10 else 2
            scaled = steps * 10**decimals // size
            return f"{scaled / 10**decimals:.{decimals}f}{unit}"
    return str(steps)


def duration(seconds: float) -> str:
    """Returns 0:42, 12:05, 3:02:11, or 2 d 5 h."""
    if not math.isfinite(seconds):
        return "-"
    whole = round(seconds)
    if whole >= 2 * 86400:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
