"""Outcomes of runs in a folder, a file each, so that a benchmark that was stopped goes on.

A file is named after its run and a digest of the options, and holds both. Nothing here knows of
variants or tables. An outcome says nothing of the code that made it: empty the folder after a
change of that.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.entropy_runs import Curve, Measured


def kept(
    folder: Path, name: str, options: Mapping[str, Any], measure: Callable[[], Measured]
) -> Measured:
    """What `folder` holds of this run, or else what `measure` returns, which it holds then."""
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"{name}-{digest}.json"
    if path.exists():
        content = json.loads(path.read_text())
        curve = Curve(**{field: np.array(values) for field, values in content["curve"].items()})
        return Measured(curve, content["scores"])
    found = measure()
    curve_lists = {field: values.tolist() for field, values in vars(found.curve).items()}
    content = {"options": options, "scores": dict(found.scores), "curve": curve_lists}
    folder.mkdir(parents=True, exist_ok=True)
    # Renamed into its place when it is whole: a file that is there can be read.
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(path)
    return found
