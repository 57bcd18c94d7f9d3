"""Imports the modules of users' own classes, which options name as PACKAGE.MODULE:CLASS."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from entrain.errors import ConfigError


def import_module_of(path: str, *, where: str) -> tuple[ModuleType, str]:
    """The module of PACKAGE.MODULE:CLASS, which may lie in the working directory, and CLASS.

    Args:
        path: the option's value.
        where: begins the message, and names the option.

    Raises:
        ConfigError: the module cannot be imported.
    """
    module_name, _, class_name = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(module_name), class_name
    except Exception as error:
        raise ConfigError(
            f"{where}: {module_name} cannot be imported: {type(error).__name__}: {error}; install "
            f"it, set PYTHONPATH, or start in its folder (this is {here})"
        ) from error
