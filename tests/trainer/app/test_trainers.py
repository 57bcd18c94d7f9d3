"""The trainers of a run: which policies are missing, and what is said of it."""

import logging
import math
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from entrain.app.apart import Apart
from entrain.app.rank_place import RankPlace
from entrain.app.trainers import Trainers
from entrain.config.load import load_config
from entrain.errors import ConfigError
from entrain.trainer import Trainer, Update
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec


class NoRecorder:
    def record(self, update: Update) -> None: ...

    def note_completion(self) -> None: ...


@pytest.fixture
def learners() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def trainers_of(learners: Executor, *policies: str, bring_all: bool = True) -> Trainers:
    steps = [f"policies.{name}.total_steps=10000" for name in policies]
    config = load_config(None, [f"simulators.bring_all={str(bring_all).lower()}", *steps])
    trainers = Trainers(config, learners=learners, recorder=NoRecorder())
    observation = ObservationSpec("seen", (2,))
    trainers.make_all([BehaviourSpec("walker", (observation,), ActionSpec(branches=(2,)))])
    return trainers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "walkr",
            "no simulator has brought the behaviour of policy 'walkr' yet (they brought: "
            "'walker'); did you mean 'walker'? The run does not end before this policy is "
            "trained, too",
        ),
        (
            "zebra",
            "no simulator has brought the behaviour of policy 'zebra' yet (they brought: "
            "'walker'). The run does not end before this policy is trained, too",
        ),
    ],
)
def test_a_policy_that_no_simulator_brings_is_named_with_what_was_probably_meant(
    learners: Executor, caplog: pytest.LogCaptureFixture, name: str, expected: str
) -> None:
    trainers = trainers_of(learners, "*", name)
    with caplog.at_level(logging.WARNING):
        trainers.warn_of_missing()
    assert [record.getMessage() for record in caplog.records] == [expected]


class Ranks(Apart):
    """Two ranks, of which this one notes what it claims."""

    place = RankPlace(0, 2)

    def __init__(self) -> None:
        self.claimed: list[str] = []

    async def number_of(self, spec: BehaviourSpec, number: int) -> int:
        self.claimed.append(spec.name)
        return number


def cameras(*names: str) -> list[BehaviourSpec]:
    """Each row of a replay: 1,000 bytes seen, 4 of a choice, 2 flags of choices, 22 of the step."""
    eye = ObservationSpec("eye", (1000,), dtype="uint8")
    return [BehaviourSpec(name, (eye,), ActionSpec(branches=(2,))) for name in names]


def trainers_of_replays(learners: Executor, together: Apart | None = None) -> Trainers:
    """A replay has 1,000 * 1,028 bytes = 0.98 MiB: two fit, on one rank, and three do not."""
    config = load_config(
        None,
        [
            "policies.*={algorithm: {kind: soft_q, replay_size: 1000}, entropy: {coefficient: 1}}",
            f"checkpoints.replay_mib={2 if together is None else 4}",
        ],
    )
    return Trainers(config, learners=learners, recorder=NoRecorder(), together=together)


TOO_MUCH = (
    r"behaviour 'third': its replay would take 0\.98 MiB .*, all 3 replays together 2\.94 MiB, and "
    r"each checkpoint, which holds them, may have 2; lower"
)


def test_a_behaviour_whose_replay_exceeds_the_limit_is_refused_alone(learners: Executor) -> None:
    trainers = trainers_of_replays(learners)
    trainers.make_all(cameras("first"))
    trainers.make_all(cameras("second"))
    with pytest.raises(ConfigError, match=TOO_MUCH):
        trainers.make_all(cameras("third"))
    assert list(trainers.by_name) == ["first", "second"]
    # One that learns without a replay is taken all the same.
    trainers.configure(load_config(None, ["policies.*.total_steps=10", "checkpoints.replay_mib=2"]))
    trainers.make_all(cameras("third"))
    assert list(trainers.by_name) == ["first", "second", "third"]


def test_the_behaviours_of_one_simulator_count_together(learners: Executor) -> None:
    trainers = trainers_of_replays(learners)
    with pytest.raises(ConfigError, match=TOO_MUCH):
        trainers.make_all(cameras("first", "second", "third"))
    assert list(trainers.by_name) == []
    trainers.make_all(cameras("first", "second"))


async def test_other_ranks_never_hear_of_a_behaviour_that_does_not_fit(learners: Executor) -> None:
    together = Ranks()
    trainers = trainers_of_replays(learners, together)
    async with trainers.prepared(cameras("first")):
        trainers.make_all(cameras("first"))
    # With the one that is there, the second is the last that fits.
    specs = cameras("second", "third")
    async with trainers.prepared(specs):
        with pytest.raises(ConfigError, match="behaviour 'third': its replay would take"):
            trainers.make_all(specs)
    assert together.claimed == ["first", "second"]


def test_a_target_beyond_reach_costs_the_simulator_its_place(learners: Executor) -> None:
    config = load_config(
        None, ["policies.*={algorithm: {kind: sac}, entropy: {target: {sigma: 1}}}"]
    )
    trainers = Trainers(config, learners=learners, recorder=NoRecorder())
    seen = (ObservationSpec("seen", (2,)),)
    words = "behaviour 'arm': entropy.target asks for 1.419 nats at the start of the run"
    with pytest.raises(ConfigError, match=words):
        trainers.make_all([BehaviourSpec("arm", seen, ActionSpec((-1.0,), (1.0,)))])
    trainers.make_all([BehaviourSpec("wheel", seen, ActionSpec((-math.inf,), (math.inf,)))])
    assert list(trainers.by_name) == ["wheel"]


def test_nothing_is_said_if_every_named_policy_has_a_simulator(
    learners: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    trainers = trainers_of(learners, "*", "walker")
    with caplog.at_level(logging.WARNING):
        trainers.warn_of_missing()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("bring_all", "words"),
    [(True, "The run does not end before this policy is trained"), (False, "does not wait for it")],
)
def test_a_policy_that_nobody_brings_is_waited_for_only_if_the_file_says_so(
    bring_all: bool,
    words: str,
    learners: Executor,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainers = trainers_of(learners, "walker", "zebra", bring_all=bring_all)
    trainers.warn_of_missing()
    assert words in caplog.text
    assert not trainers.are_all_complete()
    monkeypatch.setattr(Trainer, "is_complete", True)
    assert trainers.are_all_complete() is not bring_all
    assert ("the run waits" in caplog.text) is bring_all
