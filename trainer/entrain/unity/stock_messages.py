"""Error messages about ML-Agents settings, in one line: where, what was read, what is expected.

config.yaml:7: behaviors.Walker.hyperparameters has no key 'batchsize'; did you mean 'batch_size'?
"""

import difflib
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import Tag, ValidationError

from entrain.config.messages import listed_error
from entrain.config.source import OptionPath, Origin, Source, describe, show_path
from entrain.errors import ConfigError
from entrain.unity.stock_fields import LenientStockOptions, StockOptions
from entrain.unity.stock_run import StockRun

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Form: TypeAlias = Any
"""The annotation of a value: what may stand there."""

_EXPECTED: Mapping[str, str] = {
    "string_type": "text",
    "dict_type": "a group of names",
    "tuple_type": "a list",
    "model_type": "a group of keys",
    "model_attributes_type": "a group of keys",
    "too_short": "a list of at least one entry",
    "missing": "given",
}


def stock_error(error: ValidationError, source: Source) -> ConfigError:
    """The first mistake in `source`, with the number of further ones, which are its notes."""
    complaints = {
        _complaint(details, source)
        for details in error.errors(include_url=False)
        # A list whose only entry is wrong counts as empty too.
        if details["type"] != "too_short" or not details["input"]
    }
    return listed_error(complaints)


def written_path(location: OptionPath) -> OptionPath:
    """A location as pydantic reports it, without the tags that say which form was meant."""
    return _follow(location)[0]


def unknown_keys(value: Any, path: OptionPath = ()) -> Iterator[OptionPath]:
    """The paths of all keys that were read and mean nothing."""
    if isinstance(value, LenientStockOptions):
        yield from ((*path, name) for name in value.model_extra or {})
    if isinstance(value, StockOptions):
        for name in type(value).model_fields:
            yield from unknown_keys(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping):
        for name, inside in value.items():
            yield from unknown_keys(inside, (*path, name))
    elif isinstance(value, tuple):
        for position, inside in enumerate(value):
            yield from unknown_keys(inside, (*path, position))


def meant(group: OptionPath, name: str, source: Source) -> str:
    """The words that name the key that was probably meant; "" if none is similar."""
    form = _form_of_values(group, source)
    keys = list(_keys(form))
    if near := difflib.get_close_matches(name.replace("-", "_"), keys, n=1):
        return f"; did you mean '{near[0]}'?"
    # Before the groups that have keys of the same names: older files held hyperparameters beside
    # the networks' keys.
    below = sorted(_below(form), key=lambda path: path[0] != "hyperparameters")
    if path := next((path for path in below if path[-1] == name), None):
        return f"; did you mean '{show_path(path)}'?"
    if name in StockRun.model_fields:
        return "; it stands at the top of the file"
    return f" (it has: {', '.join(keys)})" if keys else ""


def _complaint(details: "ErrorDetails", source: Source) -> tuple[Origin, str]:
    path, _ = _follow(details["loc"])
    kind = details["type"]
    if kind == "extra_forbidden":
        path = (*path[:-1], str(details["loc"][-1]))
        group = path[:-1]
        named = show_path(group) if group else "the file"
        words = meant(group, str(path[-1]), source)
        return source.origin(path), f"{named} has no key {describe(path[-1], '')}{words}"
    if kind == "missing":
        sentence = f"{show_path(path[:-1])} lacks '{path[-1]}', which it needs"
        return source.origin(path), sentence
    if kind == "value_error":
        rule = str(details.get("ctx", {}).get("error", details["msg"]))
        return source.origin(path), f"{show_path(path)}: {rule}"
    value, written = source.value(path), source.origin(path).written
    sentence = (
        f"{show_path(path)} is {describe(value, written)}; it must be {_expectation(details)}"
    )
    return source.origin(path), sentence


def _expectation(details: "ErrorDetails") -> str:
    context = details.get("ctx", {})
    match details["type"]:
        case "stock_number" | "stock_truth":
            return details["msg"]
        case "greater_than_equal":
            return f"at least {context['ge']:g}"
        case "greater_than":
            return f"above {context['gt']:g}"
        case "less_than_equal":
            return f"at most {context['le']:g}"
        case "literal_error":
            return f"one of {context['expected'].replace(' or ', ', ')}"
        case other:
            return _EXPECTED.get(other, details["msg"])


def _follow(location: OptionPath) -> tuple[OptionPath, _Form]:
    """The path of the values that a reported location leads to, and the form found there."""
    form: _Form = StockRun
    path: OptionPath = ()
    for part in location:
        form, is_tag = _step(form, part)
        if not is_tag:
            path = (*path, part)
    return path, form


def _form_of_values(path: OptionPath, source: Source) -> _Form:
    """The form of the value at `path`, whose tags are read from the values themselves."""
    form: _Form = StockRun
    for length, part in enumerate(path, start=1):
        form, _ = _step(form, part)
        tags = _tags(form)
        if tags:
            value = source.value(path[:length])
            named = value if isinstance(value, dict) else {}
            tag = named.get("trainer_type", named.get("sampler_type", ""))
            if "curriculum" in named:
                tag = "curriculum"
            default = tags.get("plug-in") if "trainer_type" in named else tags.get("ppo")
            form = tags.get(str(tag), default or tags.get("uniform"))
    return form


def _step(form: _Form, part: str | int) -> tuple[_Form, bool]:
    """The form of what is called `part` in `form`, and whether `part` is a tag and no name."""
    form = _plain(form)
    if (tags := _tags(form)) and part in tags:
        return tags[str(part)], True
    if isinstance(form, type) and issubclass(form, StockOptions):
        field = form.model_fields.get(str(part))
        return (field.annotation if field else None), False
    if _origin(form) is dict:
        return get_args(form)[1], False
    return (get_args(form)[0] if _origin(form) is tuple else None), False


def _origin(form: _Form) -> Any:
    return get_origin(form)


def _plain(form: _Form) -> _Form:
    """`form` without its annotations, and without null as an alternative."""
    while _origin(form) is Annotated:
        form = get_args(form)[0]
    if _origin(form) in {Union, UnionType}:
        choices = [choice for choice in get_args(form) if choice is not type(None)]
        if len(choices) == 1:
            return _plain(choices[0])
    return form


def _tags(form: _Form) -> dict[str, _Form]:
    """{tag: form} of a choice of forms; empty for others."""
    form = _plain(form)
    if _origin(form) not in {Union, UnionType}:
        return {}
    return {
        tag.tag: _plain(choice)
        for choice in get_args(form)
        if _origin(choice) is Annotated
        for tag in get_args(choice)[1:]
        if isinstance(tag, Tag)
    }


def _keys(form: _Form) -> Iterator[str]:
    form = _plain(form)
    if isinstance(form, type) and issubclass(form, StockOptions):
        yield from form.model_fields


def _below(form: _Form) -> Iterator[tuple[str, ...]]:
    """The paths of all keys in groups inside `form`, as far as no names of users lie between."""
    for name in _keys(form):
        inside = _step(form, name)[0]
        for key in _keys(inside):
            yield (name, key)
        for path in _below(inside):
            yield (name, *path)
