"""Writes docs/configuration.md from the docstrings of the options.

`entrain schema --markdown --output docs/configuration.md` writes it, and `entrain schema --output
docs/entrain.schema.json` the schema beside it; a test fails if either is out of date.
"""

import json
from typing import Final

from entrain.config.schema import Schema, expectation, json_schema, kinds, options, resolved
from entrain.config.source import show_path

_INTRODUCTION: Final = """\
# Configuration

<!-- Written by `entrain schema --markdown --output docs/configuration.md`. Edit the docstrings in
trainer/entrain/config/run.py and the text in trainer/entrain/config/reference.py instead. -->

A run is described by one YAML file: `entrain train walk.yaml`. Every option has a default, so a
file holds only what differs:

```yaml
# yaml-language-server: $schema=entrain.schema.json
name: walk
server:
  address: localhost:50051
policies:
  walker:
    total_steps: 1e6
    algorithm:
      learning_rate: 3e-4
```

**Editors complete it.** `entrain schema --output entrain.schema.json` writes a JSON schema (the one
of this version lies beside this page); the comment in the first line above points the YAML language
server (VS Code, Neovim and others) to it, relative to the file.

**`--set PATH=VALUE`** changes one option without editing the file, after it was read; it can be
given any number of times, and the last one wins. The value is YAML:

| | |
|---|---|
| `--set policies.walker.algorithm.clip_range=0.1` | one option |
| `--set 'policies.walker.network.hidden_sizes=[256, 256]'` | a list |
| `--set 'policies."my.walker".total_steps=5000'` | quote a name that holds a dot |
| `--set 'policies.*.total_steps=5000'` | the policy called `"*"` |
| `--set simulators.launch.0.count=4` | entries of a list are counted from 0 |

**How YAML is read.** By the rules of version 1.2, as editors do: `1e-3` is a number, `010` is ten,
and `on`, `off`, `yes` and `no` are words, though an option that is true or false takes them.
`1_000_000` is a number too, whatever an editor thinks of it. Where text is expected, an unquoted
`5` is the text "5". A group without content (`algorithm:` and nothing below) has its defaults.
`<<: *anchor` copies a group's options into another. An option given twice is an error, and so is
one that does not exist.

**Paths** are relative to the directory in which `entrain` is started, wherever the file lies;
launched simulators are started there too.

**Naming a policy replaces the default.** A run without `policies` has one, `"*"`, which serves
every behaviour that comes; each behaviour gets networks of its own. A run that names policies
refuses behaviours it has not named, unless `"*"` is among them.

What a run really used, every default filled in, is in its folder as `config.yaml`.
"""


def markdown() -> str:
    """The text of docs/configuration.md."""
    groups: list[tuple[str, Schema]] = [("A run", json_schema())]
    for path, schema in options():
        title = show_path(path)
        if kinds(schema):
            groups += [(f"{title}, kind: {kind}", its) for kind, its in kinds(schema).items()]
        elif "properties" in schema:
            groups.append((title, schema))
    return "\n".join([_INTRODUCTION, *(_group(title, schema) for title, schema in groups)])


def _group(title: str, schema: Schema) -> str:
    below = {name: resolved(option) for name, option in schema["properties"].items()}
    rows = [_row(name, option) for name, option in below.items() if _is_value(option)]
    return "\n".join(
        [
            f"## {title}",
            "",
            str(schema["description"]),
            "",
            "| option | must be | default | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _row(name: str, option: Schema) -> str:
    default = f"`{_default(option)}`" if "default" in option else "required"
    meaning = " ".join(str(option["description"]).split())
    return f"| `{name}` | {_cell(expectation(option))} | {_cell(default)} | {_cell(meaning)} |"


def _default(option: Schema) -> str:
    value = option["default"]
    if isinstance(option.get("additionalProperties"), dict):
        # Of named groups it is enough to say which there are: each has its own defaults.
        value = {name: {} for name in value}
    if kinds(option):
        value = {"kind": value["kind"]}
    return json.dumps(value)


def _is_value(option: Schema) -> bool:
    # A group that may be null, or has kinds, is an option of the group around it, too.
    return "properties" not in option or "anyOf" in option or "discriminator" in option


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
