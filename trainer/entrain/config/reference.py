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
trainer/entrain/config/ and the text in trainer/entrain/config/reference.py instead. -->

Describe a run in one YAML file and start it with `entrain train walk.yaml`. Every option has a
default, so write only what differs:

```yaml
# yaml-language-server: $schema=entrain.schema.json
name: walk
server:
  address: localhost:50051
policies:
  walker:
    total_steps: 1e6
    algorithm:
      kind: ppo
      learning_rate: 3e-4
```

**Completion in your editor.** `entrain schema --output entrain.schema.json` writes a JSON schema.
The comment in the first line above tells the YAML language server (VS Code, Neovim and others)
where it is, relative to the file. The schema of this version lies beside this page.

**Change one option without editing the file** with `--set PATH=VALUE`, any number of times; the
last one wins. The value is YAML:

| | |
|---|---|
| `--set policies.walker.algorithm.clip_range=0.1` | one option |
| `--set 'policies.walker.network.hidden_sizes=[256, 256]'` | a list |
| `--set 'policies."my.walker".total_steps=5000'` | quote a name that contains a dot |
| `--set 'policies.*.total_steps=5000'` | the policy called `"*"` |
| `--set simulators.launch.0.count=4` | entries of a list are counted from 0 |

**From the environment.** Each option is a variable as well: `ENTRAIN` and the names on its path in
capitals, with two underscores between them. Its value is YAML, as that of `--set`; the file counts
less than the environment, and the environment less than `--set`. `entrain train`, `resume`,
`evaluate`, `play`, `serve` and `tune` read them, in groups from the outside in. What they say is
written into the run's `config.yaml`, so a resume needs none of them. A name that no option has ends
the command, as it does in the file.

| variable | what it sets |
|---|---|
| `ENTRAIN__SERVER__ADDRESS=0.0.0.0:50051` | `server.address` |
| `ENTRAIN__SIMULATORS__LAUNCH__0__COUNT=4` | entries of a list are counted from 0 |
| `ENTRAIN__POLICIES__WALKER__TOTAL_STEPS=5000` | the policy `walker` |
| `ENTRAIN__POLICIES__ANY__TOTAL_STEPS=5000` | the policy called `"*"` |
| `ENTRAIN__POLICIES='{"my.walker": {total_steps: 5000}}'` | a whole group, in place of the file's |

Names of policies are found in whatever case the file has them, and with `_` for every character
but letters and digits: `3DBALL` is `3DBall`, and `MY_WALKER` is `my.walker`. If two are alike,
write the name as it is (`ENTRAIN__POLICIES__3DBall__TOTAL_STEPS`). A policy that the file does not
name is called as the variable says, in small letters if all of it is in capitals.

**A policy that is named replaces the default.** A run without `policies` has one, `"*"`, for every
behaviour; each behaviour gets its own networks. A run that names policies refuses all other
behaviours, unless `"*"` is among them.

**Paths** are relative to the directory in which you start `entrain`, not to the file. Launched
simulators are started in that directory too.

**How YAML is read.** The rules are those of YAML 1.2, as in editors: `1e-3` is a number, `010` is
ten, and `on`, `off`, `yes` and `no` are words (an option that is true or false accepts them).
`1_000_000` is a number too, although an editor may disagree. Where text is expected, an unquoted
`5` is the text "5". A group without content (`algorithm:` with nothing below) has its defaults.
`<<: *anchor` copies the options of another group. An option that does not exist, or is given twice,
is an error.

Every option that a run used, defaults included, is in its folder as `config.yaml`. Files written
for entrain 0.1 still load, with a warning that shows the lines to write instead.
"""


def markdown() -> str:
    """The text of docs/configuration.md."""
    groups: list[tuple[str, Schema]] = [("A run", json_schema())]
    shown: list[Schema] = []
    for path, schema in options():
        title = show_path(path)
        if kinds(schema):
            # Of a kind that stands in several places, such as a sampler, one table is enough.
            new = {kind: its for kind, its in kinds(schema).items() if its not in shown}
            groups += [(f"{title}, kind: {kind}", its) for kind, its in new.items()]
            shown += new.values()
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
