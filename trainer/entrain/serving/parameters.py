"""Settings of the environment itself, told to simulators when they join and on every change."""

from collections.abc import Mapping


class EnvironmentParameters:
    """The values now. Owned by the event loop; `values` is replaced, never changed in place."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self.values: Mapping[str, float] = dict(values)

    def update(self, values: Mapping[str, float]) -> None:
        """Set these; others keep their value."""
        self.values = {**self.values, **values}

    def changed_since(self, known: Mapping[str, float]) -> Mapping[str, float]:
        """Those whose value differs from `known`, which was `values` at some time."""
        if known is self.values:
            return {}
        return {name: value for name, value in self.values.items() if known.get(name) != value}
