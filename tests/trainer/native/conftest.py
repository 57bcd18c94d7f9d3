"""A trainer without a network."""

from support.world_fixtures import (
    bird,
    count_statements,
    make_world,
    rows,
    timers,
    walker,
    world,
)

__all__ = ["bird", "count_statements", "make_world", "rows", "timers", "walker", "world"]
