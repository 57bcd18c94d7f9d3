"""What `import entrain` offers: these names and no others, without torch until one needs it."""

import subprocess
import sys
import types

import pytest

import entrain

NAMES = {
    "EntrainError",
    "EvaluationResult",
    "Observer",
    "Policy",
    "TrainedPolicy",
    "TrainingResult",
    "__version__",
    "evaluate",
    "export",
    "resume",
    "train",
}


def test_the_public_names_are_those_that_were_chosen() -> None:
    assert set(entrain.__all__) == NAMES
    assert list(entrain.__all__) == sorted(entrain.__all__)
    for name in NAMES:
        assert not isinstance(getattr(entrain, name), types.ModuleType)
    assert set(dir(entrain)) >= NAMES


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'entrain' has no attribute 'trian'"):
        _ = entrain.trian  # type: ignore[attr-defined]


def test_the_package_is_imported_without_anything_heavy() -> None:
    script = (
        "import sys, entrain\n"
        "heavy = {'torch', 'grpc', 'numpy', 'pydantic', 'typer', 'yaml'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "assert issubclass(entrain.EntrainError, Exception)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
