"""Completes the names of runs for a shell. Imports little: it runs whenever TAB is pressed."""

import os
from pathlib import Path


def complete_run(incomplete: str) -> list[str]:
    """Returns run folders that begin like this: for a shell, when TAB is pressed."""
    place = Path(incomplete) if incomplete.endswith(("/", os.sep)) else Path(incomplete).parent
    # Without a folder's name also in `runs`, where runs are unless one says otherwise.
    places = [place] if place.name else [place, Path("runs")]
    runs = [str(config.parent) for each in places for config in each.glob("*/config.yaml")]
    others = [f"{folder}/" for folder in place.glob("*/") if any(folder.glob("*/config.yaml"))]
    matching = [name for name in runs if name.startswith(incomplete)]
    return sorted(matching or [name for name in others if name.startswith(incomplete)])
