"""Quotes what a stranger sent at a length that people can read, and that cannot fill a disk."""

from collections.abc import Sequence

MOST_QUOTED = 200
"""Characters of one thing that is quoted in a message."""

MOST_LISTED = 10
"""Things of a list that a message names."""


def shortened(text: str, most: int = MOST_QUOTED) -> str:
    """`text`; of a longer one than `most` its beginning, how much is left out, and its end."""
    if len(text) <= most:
        return text
    begin = most * 2 // 3
    end = len(text) - (most - begin)
    return f"{text[:begin]} ... ({end - begin:,} characters left out) ... {text[end:]}"


def listed(things: Sequence[str], *, between: str = ", ", most: int = MOST_LISTED) -> str:
    """`a, b, c, and 97 more`: the first things, shortened, and how many there are besides."""
    shown = [shortened(thing) for thing in things[:most]]
    if len(things) > most:
        shown.append(f"and {len(things) - most:,} more")
    return between.join(shown)
