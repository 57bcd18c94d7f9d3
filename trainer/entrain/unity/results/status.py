"""training_status.json: the checkpoints and lessons of a run, in mlagents-learn's form 0.3.0."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger(__name__)

FORM: Final = "0.3.0"
MLAGENTS_VERSION: Final = "1.1.0"
"""Whose form it is; mlagents-learn warns of any other than its own."""

MOST_BYTES: Final = 16 * 2**20


class TrainingStatus:
    """The content of the file. Changed by one thread at a time."""

    def __init__(self, *, torch_version: str, entrain_version: str) -> None:
        """There are no checkpoints yet."""
        self._metadata = {
            "stats_format_version": FORM,
            "mlagents_version": MLAGENTS_VERSION,
            "torch_version": torch_version,
            "entrain_version": entrain_version,
        }
        self._parts: dict[str, dict[str, Any]] = {}
        self.is_of_mlagents = False
        """Whether mlagents-learn wrote the file that was loaded."""

    def load(self, path: Path) -> None:
        """Go on with what an earlier sitting wrote; if that cannot be read, begin anew."""
        try:
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
            parts = json.loads(path.read_text(encoding="utf-8"))
            self._parts = {name: dict(part) for name, part in dict(parts).items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, RecursionError) as error:
            logger.warning("%s cannot be read (%s); it is written anew", path, error)
        about = self._parts.pop("metadata", None)
        self.is_of_mlagents = about is not None and "entrain_version" not in about

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Those that have checkpoints."""
        return tuple(name for name, part in self._parts.items() if "checkpoints" in part)

    def newest_steps(self, behaviour: str) -> int:
        """Steps of the newest checkpoint of `behaviour`; 0 if there is none."""
        entries = _entries(self._parts.get(behaviour, {}).get("checkpoints"))
        found = [it["steps"] for it in entries if type(it.get("steps")) is int]
        return max(found, default=0)

    def add_checkpoint(
        self, behaviour: str, checkpoint: Mapping[str, Any], *, keep: int
    ) -> tuple[str, ...]:
        """Add the newest checkpoint; returns the files of those that are too old to be kept.

        Args:
            behaviour: its name.
            checkpoint: see `checkpoint_entry`.
            keep: how many checkpoints stay.
        """
        path = checkpoint["file_path"]
        before = self._parts.setdefault(behaviour, {}).get("checkpoints")
        entries = [it for it in _entries(before) if it["file_path"] != path] + [checkpoint]
        old, self._parts[behaviour]["checkpoints"] = entries[:-keep], entries[-keep:]
        return tuple(name for it in old for name in _files_of(it))

    def set_final(self, behaviour: str, checkpoint: Mapping[str, Any], path: str) -> None:
        """The newest checkpoint is also the model at `path`."""
        final = {**checkpoint, "file_path": path}
        self._parts.setdefault(behaviour, {})["final_checkpoint"] = final

    def set_lessons(self, lessons: Mapping[str, int]) -> None:
        """{environment parameter: lessons completed}."""
        for name, number in lessons.items():
            self._parts.setdefault(name, {})["lesson_num"] = number

    def text(self) -> str:
        """Returns the file's content."""
        return json.dumps({**self._parts, "metadata": self._metadata}, indent=4)


def checkpoint_entry(
    *, steps: int, model: str, others: tuple[str, ...], reward: float | None, created_s: float
) -> Mapping[str, Any]:
    """Returns one checkpoint as the file has it.

    Args:
        steps: of its policy.
        model: path of the .onnx file.
        others: paths of further files of the checkpoint.
        reward: mean of the newest returns; None if there are none.
        created_s: since 1970.
    """
    return {
        "steps": steps,
        "file_path": model,
        "reward": reward,
        "creation_time": created_s,
        # The spelling is that of the form.
        "auxillary_file_paths": list(others),
    }


def _entries(value: Any) -> list[Mapping[str, Any]]:
    """The checkpoints of a file that anybody may have edited; what has no path is left out."""
    entries = value if isinstance(value, list) else []
    return [it for it in entries if isinstance(it, dict) and isinstance(it.get("file_path"), str)]


def _files_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    others = entry.get("auxillary_file_paths")
    named = others if isinstance(others, list) else []
    return (entry["file_path"], *(name for name in named if isinstance(name, str)))
