"""Gives an ONNX graph the names that its users know, whatever its exporter called the values.

The exporter names values after operations (view, addmm, val_0), and every value of a graph needs a
name of its own. So inputs and outputs are renamed only when the graph is finished, and a value
inside that has one of those names makes room.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any


def name_ends(graph: Any, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Rename the inputs and outputs of an `onnx.GraphProto`, in their order.

    Args:
        graph: changed in place.
        inputs: the new names. All of these and of `outputs` differ.
        outputs: the new names.
    """
    ends = [value.name for value in (*graph.input, *graph.output)]
    public = dict(zip(ends, (*inputs, *outputs), strict=True))
    if len(public) != len(ends):
        raise ValueError(f"inputs and outputs of the graph share values: {', '.join(ends)}")
    wanted = set(public.values())
    if len(wanted) != len(ends):
        raise ValueError(f"two of these names are equal: {', '.join(public.values())}")
    taken = {name for part in _graphs(graph) for name in _names(part)}
    new_name = dict(public)
    for name in sorted((wanted & taken) - public.keys()):
        new_name[name] = free_name(name, taken | wanted, prefix="inner.")
        taken.add(new_name[name])
    for part in _graphs(graph):
        _rename(part, new_name)


def free_name(name: str, taken: Set[str], *, prefix: str) -> str:
    """`name`, with `prefix` in front as often as it takes until nothing else is called so."""
    while name in taken:
        name = prefix + name
    return name


def _graphs(graph: Any) -> Iterator[Any]:
    """The graph and those inside it (of If, Loop and Scan), which may use its values."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inside = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for each in inside:
                yield from _graphs(each)


def _named(graph: Any) -> Iterator[Any]:
    """Everything of one graph that has a value's name as its `name`."""
    yield from graph.input
    yield from graph.output
    yield from graph.initializer
    yield from graph.value_info
    for sparse in graph.sparse_initializer:
        yield sparse.values


def _names(graph: Any) -> Iterator[str]:
    yield from (each.name for each in _named(graph))
    for node in graph.node:
        yield from (*node.input, *node.output)


def _rename(graph: Any, new_name: Mapping[str, str]) -> None:
    for each in _named(graph):
        each.name = new_name.get(each.name, each.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new_name.get(name, name) for name in names]
