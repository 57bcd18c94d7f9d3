"""Describes mlagents-learn's files in results/RUN_ID in words; `tree` has their paths."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from entrain.unity.results.tree import CHECKPOINT, CONFIGURATION, LOGS, OUR_FOLDERS


def is_of_learn(path: Path) -> bool:
    """Whether `entrain learn` made or resumed the run in this folder."""
    return (path / CONFIGURATION).is_file()


def files_of_learn(path: Path) -> Mapping[Path, str]:
    """Returns {file or folder: its purpose} of existing ones; empty for a native run."""
    if not is_of_learn(path):
        return {}
    found = dict.fromkeys(sorted(path.glob("*.onnx")), "the model to put into the game")
    for folder in _behaviours(path):
        found[folder] = f"{_models(folder)}; tensorboard --logdir {path.parent}"
    found[path / "tensorboard"] = (
        f"entrain's own metrics; tensorboard --logdir {path / 'tensorboard'}"
    )
    found[path / "policies"] = "entrain's own form of the models, which no game loads"
    found[path / CONFIGURATION] = (
        "the settings with every default; entrain learn and mlagents-learn read it"
    )
    found[path / LOGS] = "what games wrote and printed; timers.json, training_status.json"
    return found


def _behaviours(path: Path) -> Iterator[Path]:
    """Folders of behaviours."""
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and folder.name not in OUR_FOLDERS and any(_of_behaviour(folder)):
            yield folder


def _of_behaviour(folder: Path) -> Iterator[Path]:
    for pattern in (f"{_escaped(folder.name)}-*.onnx", CHECKPOINT, "events.out.tfevents.*"):
        yield from folder.glob(pattern)


def _models(folder: Path) -> str:
    number = sum(1 for _ in folder.glob(f"{_escaped(folder.name)}-*.onnx"))
    if not number:
        return "TensorBoard's curves"
    words = f"{number} checkpoint{'' if number == 1 else 's'} for the game"
    is_saved = (folder / CHECKPOINT).is_file()
    return f"{words} (.onnx){' and mlagents-learn (.pt)' if is_saved else ''}"


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
