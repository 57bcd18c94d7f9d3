"""Checks the shapes in annotations when functions are called: in tests, never in production.

The packages write shapes as `Float[Tensor, "T B"]`, which means nothing to Python (see
`entrain_envs.shapes`). Installed before they are imported, the hook puts jaxtyping's names there,
and wraps what has shapes in its annotations with jaxtyping and beartype. Everything else in those
modules runs as in production.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any, get_args, get_origin

import jaxtyping
from beartype import beartype

SHAPES = "entrain_envs.shapes"

CHECKED = (
    "entrain_envs.timestep",
    "entrain.algorithms.losses",
    "entrain.algorithms.returns",
    "entrain.experience",
    "entrain.policy",
    "entrain.requests",
)
"""Modules whose annotations have shapes, and packages of such modules."""


CHECKED_CALLS = 3
"""Of each function, in each test: training calls some of them a hundred thousand times."""


class Tests:
    """Counts them, so that each begins with checks."""

    begun = 0


def install() -> None:
    """Check what is imported from now on."""
    late = [name for name in sys.modules if name == SHAPES or is_checked(name)]
    assert not late, f"imported before their shapes could be checked: {late}"
    sys.meta_path.insert(0, CheckingFinder())


def is_checked(module: str) -> bool:
    """Whether the shapes in this module's annotations are checked."""
    return any(module == name or module.startswith(f"{name}.") for name in CHECKED)


class CheckingFinder(MetaPathFinder):
    """Finds the checked modules as usual, but has them loaded with checks."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if fullname != SHAPES and not is_checked(fullname):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = CheckingLoader(spec.loader.name, spec.loader.path)
        return spec


class CheckingLoader(SourceFileLoader):
    """Loads a module, then puts checks around what has shapes in its annotations."""

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader`."""
        super().exec_module(module)
        if module.__name__ == SHAPES:
            for name in module.__all__:
                setattr(module, name, checked_form(getattr(jaxtyping, name)))
        else:
            check_shapes(module)


def checked_form(dtype: Any) -> Any:
    """One of jaxtyping's dtypes, which also takes `NDArray[...]` as the type of array."""

    class Form:
        def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
            array, shape = item
            return dtype[get_origin(array) or array, shape]

    return Form


def check_shapes(module: ModuleType) -> None:
    """Wrap the functions, methods and dataclasses of `module` that have shapes."""
    for name, value in list(vars(module).items()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, FunctionType):
            setattr(module, name, checked(value))
        elif isinstance(value, type) and not getattr(value, "_is_protocol", False):
            check_class(value)


def check_class(cls: type) -> None:
    """Wrap the methods and properties; a dataclass's `__init__` has the shapes of its fields."""
    for name, member in list(vars(cls).items()):
        if isinstance(member, FunctionType):
            setattr(cls, name, checked(member))
        elif isinstance(member, property) and isinstance(member.fget, FunctionType):
            setattr(cls, name, property(checked(member.fget), doc=member.__doc__))


def checked(function: FunctionType) -> Any:
    """The function with checks of the arguments and the result that have shapes."""
    shaped = {name: hint for name, hint in function.__annotations__.items() if has_shape(hint)}
    if not shaped:
        return function
    # All other types are checked by mypy, and beartype does not support every one of them. What a
    # decorator such as torch.no_grad has wrapped is where the signature is read.
    inspect.unwrap(function).__annotations__ = shaped
    return limited(function, jaxtyping.jaxtyped(function, typechecker=beartype))


def limited(function: Callable[..., Any], checking: Callable[..., Any]) -> Callable[..., Any]:
    """Calls `checking` at first in each test, then `function`: a check takes some 50 us."""
    calls = test = 0

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        nonlocal calls, test
        if test != Tests.begun:
            calls, test = 0, Tests.begun
        calls += 1
        return (checking if calls <= CHECKED_CALLS else function)(*args, **options)

    return call


def has_shape(hint: Any) -> bool:
    """Whether one of jaxtyping's types occurs anywhere in an annotation."""
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(has_shape(part) for part in get_args(hint))
