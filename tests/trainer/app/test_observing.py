"""Several who watch a run."""

import numpy as np

from entrain.app.observing import BehaviourObservers, RunObservers
from entrain.serving.aggregates import Summary


class Watch:
    """Writes down what it is told."""

    def __init__(self, due: int) -> None:
        self.due = due
        self.told: list[object] = []

    def reach(self, env_steps: int) -> None:
        self.told.append(env_steps)

    def note_episodes(self, returns: object, lengths: object) -> None:
        self.told.append("episodes")

    def note_evaluation(self, metrics: object, *, env_steps: int) -> None:
        self.told.append(("evaluation", env_steps))

    def note_update(self, metrics: object, statistics: object, *, env_steps: int) -> None:
        self.told.append(("update", env_steps))


class Run:
    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.told: list[object] = []

    def follow(self, *_: object) -> Watch:
        return self.watch

    def resume_at(self, env_steps: object) -> None:
        self.told.append(env_steps)

    def close(self) -> None:
        self.told.append("close")


def test_each_is_told_of_all_and_of_steps_that_it_waits_for() -> None:
    early, late = Watch(10), Watch(20)
    both = BehaviourObservers([early, late])
    assert both.due == 10
    both.reach(10)
    both.note_episodes(np.zeros(1), np.zeros(1, np.int64))
    statistics: dict[str, Summary] = {}
    both.note_update({}, statistics, env_steps=15)
    assert early.told == [10, "episodes", ("update", 15)]
    assert late.told == ["episodes", ("update", 15)]
    early.due = 30
    assert both.due == 20


def test_runs_are_followed_by_all() -> None:
    runs = [Run(Watch(1)), Run(Watch(2))]
    both = RunObservers(*runs)
    followed = both.follow(None, lambda: None, lambda: 0, dict)  # type: ignore[arg-type]
    assert followed.due == 1
    both.resume_at({"cat": 5})
    both.close()
    assert [run.told for run in runs] == [[{"cat": 5}, "close"]] * 2
