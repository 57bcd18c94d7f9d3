"""Environment parameters: told to simulators when they join, and when they change."""

from collections.abc import Mapping


class EnvironmentParameters:
    """The current values. Owned by the event loop; `values` is replaced, never changed in place."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self.values: Mapping[str, float] = dict(values)

    def update(self, values: Mapping[str, float]) -> None:
        """Set these; the others keep their values."""
        self.values = {**self.values, **values}

    def changed_since(self, known: Mapping[str, float]) -> Mapping[str, float]:
        """Those whose value differs from `known`, an earlier `values`."""
        if known is self.values:
            return {}
        return {name: value for name, value in self.values.items() if known.get(name) != value}
