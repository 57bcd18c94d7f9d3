"""Which options exist and what each must be, as a JSON schema and in words.

Everything is derived from `RunConfig`, so that editors, error messages and documentation agree.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

from entrain.config.run import RunConfig
from entrain.config.source import OptionPath, show_path

Schema: TypeAlias = Mapping[str, Any]

ANY_NAME: Final = "NAME"
"""Stands in a path for a name that the user chooses, such as that of a behaviour."""

_WORDS: Final[Mapping[str | None, str]] = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "string": "text",
    "path": "a path, as text",
    "object": "a group of names, each with a value",
    None: "any value",
}

_WORDS_OF_OTHERS: Final = {
    "batch_size": "minibatch_size",
    "beta": "coefficient",
    "completion_criteria": "completion",
    "buffer_size": "rollout_steps",
    "clip_coef": "clip_range",
    "ent_coef": "coefficient",
    "entropy_coefficient": "coefficient",
    "entropy_coefficient_schedule": "coefficient_schedule",
    "epsilon": "clip_range",
    "gamma": "discount",
    "gradient_steps": "updates_per_step",
    "hidden_units": "hidden_sizes",
    "initialize_from": "initial_weights",
    "lambd": "gae_lambda",
    "lr": "learning_rate",
    "max_steps": "total_steps",
    "max_value": "high",
    "min_lesson_length": "min_episodes",
    "min_value": "low",
    "n_epochs": "num_epochs",
    "net_arch": "hidden_sizes",
    "n_steps": "rollout_steps",
    "num_epoch": "num_epochs",
    "policy_delay": "policy_every",
    "policy_frequency": "policy_every",
    "ppo": "algorithm",
    "num_steps": "rollout_steps",
    "sampler_type": "kind",
    "signal_smoothing": "smoothing",
    "st_dev": "standard_deviation",
    "tau": "target_rate",
    "total_timesteps": "total_steps",
    "train_freq": "rollout_steps",
    "update_epochs": "num_epochs",
    "vf_coef": "value_coefficient",
}
"""{name in ML-Agents, Stable-Baselines3, CleanRL or an older entrain: our name}."""


_WORDS_BESIDE_A_REPLAY: Final = {"buffer_size": "replay_size"}
"""The same where the group has an option of that name."""


def word_of(name: str) -> str:
    """Our name of an option that other libraries call `name`; "" if none is known."""
    return _WORDS_OF_OTHERS.get(name.lower(), "")


def json_schema() -> dict[str, Any]:
    """JSON schema of a settings file, with descriptions, for editors."""
    schema = RunConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def find(path: OptionPath) -> tuple[OptionPath, Schema]:
    """The schema at `path`, or at the longest beginning of it that exists, and that beginning.

    Args:
        path: may be a location as pydantic reports it, with a group's kind behind its name, as in
            policies.walker.algorithm.ppo.clip_range. The returned path is without the kind.
    """
    found: OptionPath = ()
    here = resolved(_run_schema())
    for part in path:
        if part in kinds(here):
            here = kinds(here)[str(part)]
            continue
        below = _below(here, part)
        if below is None:
            break
        found, here = (*found, part), resolved(below)
    return found, here


def kinds(group: Schema) -> Mapping[str, Schema]:
    """{kind: its options} of a group whose options depend on its `kind`; empty for other groups."""
    if "discriminator" not in group:
        return {}
    names = {reference: kind for kind, reference in group["discriminator"]["mapping"].items()}
    return {names[choice["$ref"]]: resolved(choice) for choice in group["oneOf"]}


def default_kind(group: Schema) -> str:
    """The kind of such a group if its value names none; "" if it must."""
    names = {reference: kind for kind, reference in group["discriminator"]["mapping"].items()}
    return next((names[it["$ref"]] for it in group["oneOf"] if "required" not in it), "")


def expectation(schema: Schema) -> str:
    """Describe the values that are allowed, in words that follow "it must be"."""
    if "anyOf" in schema:
        return " or ".join(expectation(resolved(choice)) for choice in schema["anyOf"])
    if "properties" in schema:
        first = next(iter(schema["properties"]))
        example = f"kind: {next(iter(kinds(schema)))}" if kinds(schema) else first
        return f"a group of options, such as '{example}'"
    if schema.get("type") == "array":
        return _list(schema)
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return _choice(schema["enum"])
    words = schema.get("patternErrorMessage") or _WORDS[schema.get("format", schema.get("type"))]
    return f"{words}{_bounds(schema)}"


def closest_option(group: OptionPath, name: str) -> str:
    """The option that was probably meant by `name` in `group`; "" if none is similar.

    Looks in the group itself first, then for the same name in groups inside and around it.

    Args:
        group: a path as `find` takes it.
        name: what was written in the group.
    """
    group, schema = find(group)
    if (own := _WORDS_BESIDE_A_REPLAY.get(name.lower(), "")) in schema.get("properties", {}):
        return own
    is_known = name.lower() in _WORDS_OF_OTHERS
    name = _WORDS_OF_OTHERS.get(name.lower(), name)
    if name in schema.get("properties", {}):
        return name
    near = difflib.get_close_matches(name, schema.get("properties", {}), n=1)
    if near and not is_known:
        return str(near[0])
    everywhere = [path for path, _ in options() if path[-1] not in (ANY_NAME, 0)]
    below = sorted((path for path in everywhere if _is_below(path, group)), key=len)
    for cutoff in (1.0, 0.8):
        for paths in (below, everywhere):
            names = {str(path[-1]): path for path in reversed(paths)}
            for match in difflib.get_close_matches(name, names, n=1, cutoff=cutoff):
                path = names[match]
                return show_path(
                    path[len(group) :] if paths is below else _named_alike(path, group)
                )
    return ""


def options() -> Iterator[tuple[OptionPath, Schema]]:
    """Every option of a run, with groups and list entries, in the order of declaration."""
    yield from _options((), _run_schema())


def _options(path: OptionPath, schema: Schema) -> Iterator[tuple[OptionPath, Schema]]:
    schema = resolved(schema)
    below: list[tuple[OptionPath, Schema]] = [
        ((*path, name), option) for name, option in schema.get("properties", {}).items()
    ]
    if schema.get("additionalProperties"):
        below.append(((*path, ANY_NAME), schema["additionalProperties"]))
    if "items" in schema:
        below.append(((*path, 0), schema["items"]))
    for where, option in below:
        yield where, resolved(option)
        yield from _options(where, option)


@cache
def _run_schema() -> Schema:
    return RunConfig.model_json_schema()


def resolved(schema: Schema) -> Schema:
    """`schema` itself, or what it refers to if it is a reference.

    A group that may also be null keeps its `anyOf` and gets the properties of the group. A group
    whose options depend on its `kind` gets the properties of every kind, also one that may be a
    number instead.
    """
    for choice in schema.get("anyOf", ()):
        if "discriminator" in choice:
            schema = {**choice, **schema}
    if "discriminator" in schema:
        return {**schema, "properties": _of_every_kind(kinds(schema))}
    if "$ref" not in schema:
        groups = [choice for choice in schema.get("anyOf", ()) if "$ref" in choice]
        return {**resolved(groups[0]), **schema} if groups else schema
    target = _run_schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return {**target, **{key: schema[key] for key in schema if key != "$ref"}}


def _of_every_kind(groups: Mapping[str, Schema]) -> dict[str, Any]:
    """The properties of all these groups together; `kind` may be any of theirs."""
    together: dict[str, Any] = {}
    for group in reversed(list(groups.values())):
        together = {**group["properties"], **together}
    kind = {key: it for key, it in together["kind"].items() if key != "const"}
    return {**together, "kind": {**kind, "enum": list(groups)}}


def _below(schema: Schema, part: str | int) -> Schema | None:
    found: Schema | None
    if isinstance(part, int):
        found = schema.get("items") or _at(schema.get("prefixItems", ()), part)
    elif part in schema.get("properties", {}):
        found = schema["properties"][part]
    else:
        found = schema.get("additionalProperties") or None
    return found


def _at(entries: Sequence[Schema], position: int) -> Schema | None:
    return entries[position] if position < len(entries) else None


def _named_alike(path: OptionPath, other: OptionPath) -> OptionPath:
    """`path` with the user's names from `other`, as far as both paths are the same."""
    shared: OptionPath = ()
    for ours, theirs in zip(path, other, strict=False):
        if ours not in (theirs, ANY_NAME):
            break
        shared = (*shared, theirs)
    return (*shared, *path[len(shared) :])


def _is_below(path: OptionPath, group: OptionPath) -> bool:
    return len(path) > len(group) and all(
        ours in (theirs, ANY_NAME) for ours, theirs in zip(path, group, strict=False)
    )


def _list(schema: Schema) -> str:
    if "items" in schema:
        return f"a list, each entry {expectation(resolved(schema['items']))}"
    entries = [expectation(resolved(entry)) for entry in schema["prefixItems"]]
    return f"a list of {len(entries)}: {', '.join(entries)}"


def _choice(texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return f"{texts[0]}, the only one there is"
    return f"one of {', '.join(texts)}"


def _bounds(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if schema.get("type") == "integer" and (least, most) == (0, 1):
        return ", 0 or 1"
    if least is not None and most is not None:
        return f" between {least:g} and {most:g}"
    words = []
    if least is not None:
        words.append(f"of at least {least:g}")
    if "exclusiveMinimum" in schema:
        words.append(f"above {schema['exclusiveMinimum']:g}")
    if most is not None:
        words.append(f"of at most {most:g}")
    if "exclusiveMaximum" in schema:
        words.append(f"below {schema['exclusiveMaximum']}")
    return "".join(f" {word}" for word in [" and ".join(words)] if word)
