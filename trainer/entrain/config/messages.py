"""Error messages about settings, in one line: where, what was read, what is expected.

walk.yaml:7: policies.walker.algorithm has no option 'clip_rnage'; did you mean 'clip_range'?
walk.yaml:9: policies.walker.algorithm.minibatch_size is 'many'; it must be an integer of at least 1
"""

import difflib
import re
from collections.abc import Set
from typing import TYPE_CHECKING

from pydantic import ValidationError

from entrain.config.schema import Schema, closest_option, expectation, find, kinds, word_of
from entrain.config.source import OptionPath, Origin, Source, describe, show_path
from entrain.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


MOST_NOTES = 10
"""Further mistakes that an error has as notes; it says how many there are in all."""


def config_error(error: ValidationError, source: Source) -> ConfigError:
    """The first mistake in `source`, with the number of further ones, which are its notes."""
    found = error.errors(include_url=False)
    return listed_error({_complaint(details, source) for details in found})


def listed_error(complaints: Set[tuple[Origin, str]]) -> ConfigError:
    """Returns the error of these mistakes: where each is, and the sentence about it."""
    ordered = sorted(complaints, key=lambda complaint: (complaint[0].order, complaint[1]))
    first, *others = (f"{origin.place}: {sentence}" for origin, sentence in ordered)
    more = f" (and {len(others)} more mistake{'s' if len(others) > 1 else ''})" if others else ""
    error = ConfigError(f"{first}{more}")
    for each in others[:MOST_NOTES]:
        error.add_note(each)
    return error


def _complaint(details: "ErrorDetails", source: Source) -> tuple[Origin, str]:
    """Where one mistake is, and the sentence about it."""
    path, schema = find(details["loc"])
    match details["type"]:
        case "extra_forbidden":
            *group, name = details["loc"]
            return source.origin((*path, name)), _unknown_option(tuple(group), str(name))
        case "missing":
            return source.origin(path), _missing(path, schema, source)
        case "value_error":
            sentence = str(details.get("ctx", {}).get("error", details["msg"]))
            return _origin_of_rule(path, sentence, source), _rule(path, schema, sentence)
        case "union_tag_not_found" | "union_tag_invalid" as mistake:
            path, schema = find((*path, "kind"))
            say = _missing if mistake == "union_tag_not_found" else _wrong_value
            return source.origin(path), say(path, schema, source)
        case "finite_number":
            sentence = _wrong_value(path, schema, source)
            return source.origin(path), sentence.replace("be a number", "be a finite number", 1)
        case _:
            return source.origin(path), _wrong_value(path, schema, source)


def _unknown_option(location: OptionPath, name: str) -> str:
    """The sentence about `name` in the group at `location`, which is as pydantic reports it."""
    group, schema = find(location)
    sentence = f"{_named(group)} has no option {describe(name, '')}"
    all_kinds = kinds(find(group)[1])
    theirs = [kind for kind, options in all_kinds.items() if name in options["properties"]]
    if theirs:
        own = _own_word(name, all_kinds.get(str(location[-1]), {}))
        meant = f"; did you mean '{own}'?" if own else ""
        whose = " and ".join(f"'{kind}'" for kind in theirs)
        noun = "kinds" if len(theirs) > 1 else "kind"
        return f"{sentence} with kind '{location[-1]}'; it is one of {noun} {whose}{meant}"
    if name in all_kinds:
        return f"{sentence}; write 'kind: {name}', with its options beside it"
    closest = closest_option(location, name)
    if closest == name:
        return f"{sentence}; it stands at the top of the file, in no group"
    if closest:
        return f"{sentence}; did you mean '{closest}'?"
    return f"{sentence} (it has: {', '.join(schema.get('properties', {}))})"


def _own_word(name: str, schema: Schema) -> str:
    """The option of this kind that does what `name` does for another; "" if none is known."""
    own = schema.get("properties", {})
    if word_of(name) in own:
        return word_of(name)
    return next(iter(difflib.get_close_matches(name, own, n=1, cutoff=0.8)), "")


def _missing(path: OptionPath, schema: Schema, source: Source) -> str:
    if isinstance(path[-1], int):
        # It is the list that is too short.
        return _wrong_value(*find(path[:-1]), source)
    return f"{_named(path[:-1])} lacks '{path[-1]}'; it must be {expectation(schema)}"


def _wrong_value(path: OptionPath, schema: Schema, source: Source) -> str:
    value, written = source.value(path), source.origin(path).written
    sentence = f"{show_path(path)} is {describe(value, written)}; it must be {expectation(schema)}"
    if isinstance(value, str) and value in kinds(schema):
        return f"{sentence}; write '{path[-1]}: {{kind: {value}}}'"
    if "enum" in schema and isinstance(value, str):
        near = difflib.get_close_matches(value, schema["enum"], n=1)
        return f"{sentence}; did you mean '{near[0]}'?" if near else sentence
    return sentence


def _rule(path: OptionPath, schema: Schema, sentence: str) -> str:
    """The sentence of a group's own check, with the full path of the option that it begins with."""
    first = re.match(r"\w+", sentence)
    if first and first[0] in schema.get("properties", {}):
        return f"{show_path((*path, first[0]))}{sentence[first.end() :]}"
    return f"{_named(path)}: {sentence}" if path else sentence


def _origin_of_rule(path: OptionPath, sentence: str, source: Source) -> Origin:
    """The origin of the first option in the sentence that was written; else that of the group."""
    for word in re.findall(r"\w+", sentence):
        if (*path, word) in source.origins:
            return source.origins[(*path, word)]
    return source.origin(path)


def _named(group: OptionPath) -> str:
    return show_path(group) if group else "a run"
