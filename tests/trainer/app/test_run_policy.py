"""A policy in a program: it acts as the actor does, remembers agents, refuses what misfits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from entrain.algorithms.weights import as_arrays
from entrain.app.build import make_actor
from entrain.app.run_policy import Policy
from entrain.config.load import given_config, to_yaml
from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError, ConfigError, PolicyInputError
from entrain.policy.actor_critic import ActorCritic
from entrain.requests import SlotTimesteps
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.folder import RunFolder
from entrain.state import State
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch

EYES = ObservationSpec("eyes", (3,))
CAMERA = ObservationSpec("camera", (2, 2, 1), "uint8")
CHOICE = ActionSpec(branches=(4,))
BRANCHES = ActionSpec(branches=(2, 3))
FORCE = ActionSpec((-2.0,) * 2, (2.0,) * 2)
HYBRID = ActionSpec((-1.0,), (1.0,), (3,))
MEMORY: dict[str, Any] = {"memory": {"kind": "gru", "size": 4}}
HISTORY: dict[str, Any] = {"previous_action": True, "previous_reward": True}


def network(
    action: ActionSpec = CHOICE,
    *observations: ObservationSpec,
    name: str = "walker",
    seed: int = 3,
    **options: Any,
) -> ActorCritic:
    spec = BehaviourSpec(name, observations or (EYES,), action)
    config = PolicyConfig.model_validate({"network": {"hidden_sizes": [8], **options}})
    return ActorCritic(spec, config, seed=seed)


def policy(
    action: ActionSpec = CHOICE,
    *observations: ObservationSpec,
    deterministic: bool = True,
    **options: Any,
) -> Policy:
    restored = Loaded({}, 7, Path("checkpoints/0001-step-7"), ())
    made = network(action, *observations, **options)
    return Policy(made, restored, deterministic=deterministic, seed=5)


def eyes(rows: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)


def agents_of(acting: Policy) -> list[int]:
    """The agents whose episodes run, ascending."""
    owners = acting.state()["slots"]["owners"]
    return [agent for each in owners.values() for agent in each["agent_id"].tolist()]


def as_the_actor(
    made: ActorCritic, seen: npt.NDArray[np.float32], firsts: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int32], State]:
    """[T, K] what the actor of an evaluation does with [T, K, 3], and what it remembers then."""
    actor = make_actor(made, seed=5, deterministic=False)
    rows = seen.shape[1]
    chosen = []
    for row, first in zip(seen, firsts, strict=True):
        timesteps = TimestepBatch.of(
            made.spec,
            agent_id=np.arange(rows),
            step_type=np.where(first, StepType.FIRST, StepType.MID),
            reward=np.where(first, 0.0, 0.5),
            observation={"eyes": row},
        )
        batch = SlotTimesteps(np.arange(rows), timesteps, np.zeros(0, np.int64), rows)
        chosen.append(actor.act(actor.evaluate(batch)).discrete[:, 0])
    return np.array(chosen), actor.state()


@pytest.mark.parametrize("options", [{}, MEMORY, {**MEMORY, **HISTORY}])
def test_it_samples_what_the_actor_of_an_evaluation_samples(options: Mapping[str, Any]) -> None:
    seen = np.stack([eyes(4, seed) for seed in range(6)])
    firsts = np.zeros((6, 4), np.bool_)
    firsts[0] = firsts[3, 1] = firsts[5, 2] = True
    expected, remembered = as_the_actor(network(**options), seen, firsts)
    acting = policy(deterministic=False, **options)
    for step in range(6):
        chosen = acting.act(seen[step], first=firsts[step], reward=0.5)
        np.testing.assert_array_equal(chosen, expected[step])
    assert len(np.unique(expected)) > 1
    state = acting.state()["actor"]
    np.testing.assert_array_equal(state["recurrent_state"], remembered["recurrent_state"])
    np.testing.assert_array_equal(state["history"]["action"], remembered["history"]["action"])


def test_one_agent_is_a_batch_of_one_without_its_first_dimension() -> None:
    row = eyes(1)
    assert policy().act(row[0]) == policy().act({"eyes": row})[0]
    assert isinstance(policy().act(row[0]), int)
    # Numbers of other kinds are taken where nothing is lost by it.
    assert policy().act(row[0].astype(np.float64)) == policy().act(row[0])
    assert policy().act([1, 2, 3]) == policy().act(np.array([1.0, 2.0, 3.0], np.float32))


@pytest.mark.parametrize(
    ("action", "one", "several"),
    [(FORCE, (2,), (5, 2)), (BRANCHES, (2,), (5, 2))],
)
def test_actions_have_the_form_of_their_spec(
    action: ActionSpec, one: tuple[int, ...], several: tuple[int, ...]
) -> None:
    acting = policy(action)
    assert np.shape(acting.act(eyes(1)[0])) == one
    assert np.shape(acting.act(eyes(5))) == several


def test_continuous_and_discrete_actions_together_are_named() -> None:
    both = policy(HYBRID).act(eyes(5))
    assert isinstance(both, dict)
    assert {name: (it.shape, it.dtype.name) for name, it in both.items()} == {
        "continuous": ((5, 1), "float32"),
        "discrete": ((5, 1), "int32"),
    }


def test_memory_is_each_agent_s_own_and_reset_forgets_it() -> None:
    seen = [eyes(1, seed)[0] for seed in range(8)]

    def probabilities(acting: Policy) -> Any:
        return acting.state()["actor"]["recurrent_state"]

    alone, among = policy(**MEMORY), policy(**MEMORY)
    for row in seen:
        alone.act(row)
        among.act(np.stack([row, -row]), agents=[70, 3])
        among.act(-row, agents=[9])
    # Slots go by agent: 3 has the first one, and 70 the second.
    np.testing.assert_allclose(probabilities(alone)[0], probabilities(among)[1], rtol=1e-5)
    assert agents_of(among) == [3, 9, 70]

    fresh = policy(**MEMORY)
    for agents in (None, [0, 12345]):
        alone.reset(agents)
        alone.act(seen[0])
        fresh.reset()
        fresh.act(seen[0])
        np.testing.assert_array_equal(probabilities(alone)[0], probabilities(fresh)[0])


def test_what_it_remembers_can_be_kept_and_given_back() -> None:
    acting = policy(deterministic=False, **MEMORY)
    for seed in range(3):
        acting.act(eyes(2, seed), agents=[5, 6])
    kept = acting.state()
    onward = [acting.act(eyes(2, seed), agents=[5, 6]) for seed in range(3, 9)]
    again = policy(deterministic=False, **MEMORY)
    again.load_state(kept)
    repeated = [again.act(eyes(2, seed), agents=[5, 6]) for seed in range(3, 9)]
    np.testing.assert_array_equal(onward, repeated)
    with pytest.raises(CheckpointError, match="this state has x; expected what"):
        again.load_state({"x": 1})


@pytest.mark.parametrize(
    ("action", "options"),
    [(BRANCHES, {}), (CHOICE, HISTORY), (CHOICE, {"name": "runner"}), (CHOICE, MEMORY)],
)
def test_a_state_of_another_policy_is_refused_and_changes_nothing(
    action: ActionSpec, options: dict[str, Any]
) -> None:
    acting, twin = policy(deterministic=False), policy(deterministic=False)
    acting.act(eyes(2))
    twin.act(eyes(2))
    other = policy(action, **options)
    other.act(eyes(3))
    with pytest.raises(CheckpointError, match=r"which differs from this one of 'walker' in name"):
        acting.load_state(other.state())
    assert agents_of(acting) == [0, 1]
    for seed in range(5):
        np.testing.assert_array_equal(acting.act(eyes(2, seed)), twin.act(eyes(2, seed)))


@pytest.mark.parametrize("agents", [None, [0, 1]])
def test_an_agent_that_was_reset_needs_no_reward_and_is_shown_nothing(
    agents: list[int] | None,
) -> None:
    acting, fresh = (policy(deterministic=True, **MEMORY, **HISTORY) for _ in range(2))
    for seed in range(3):
        acting.act(eyes(2, seed), reward=[0.5, 1.0])
    acting.reset(agents)
    np.testing.assert_array_equal(acting.act(eyes(2)), fresh.act(eyes(2)))
    for part in ("recurrent_state", "history"):
        np.testing.assert_equal(acting.state()["actor"][part], fresh.state()["actor"][part])
    with pytest.raises(PolicyInputError, match="shown the reward of the step before"):
        acting.act(eyes(2))


def test_agents_that_are_reset_leave_their_room_to_those_that_come() -> None:
    acting = policy(**MEMORY)
    for agent in range(40):
        acting.act(eyes(2), agents=[1000, agent])
        acting.reset([agent])
    assert agents_of(acting) == [1000]
    assert len(acting.state()["actor"]["recurrent_state"]) == 2
    kept, again = acting.state(), policy(**MEMORY)
    again.load_state(kept)
    for each in (acting, again):
        each.act(eyes(2), agents=[7, 1000])
    np.testing.assert_equal(again.state(), acting.state())


@pytest.mark.parametrize("given", [[0.5, 2.0], np.array([0.5, 2.0]), np.array([0.5, 2.0], "f4")])
def test_rewards_of_several_agents_come_as_a_list_or_an_array(given: Any) -> None:
    together, alone = policy(FORCE, **HISTORY), policy(FORCE, **HISTORY)
    for each in (together, alone):
        each.act(eyes(2))
    chosen = together.act(eyes(2), reward=given)
    for row, reward in enumerate((0.5, 2.0)):
        by_itself = alone.act(eyes(2)[row], agents=[row], reward=reward)
        np.testing.assert_allclose(chosen[row], by_itself, rtol=1e-5)


@pytest.mark.parametrize("deterministic", [True, False])
def test_what_is_masked_is_never_chosen(deterministic: bool) -> None:
    acting = policy(BRANCHES, deterministic=deterministic)
    for seed in range(20):
        chosen = acting.act(eyes(6, seed), mask=[0, 1, 1, 0, 1])
        assert (np.asarray(chosen)[:, 0] == 1).all()
        assert (np.asarray(chosen)[:, 1] != 1).all()
    one_each = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 1]], np.bool_)
    assert np.asarray(acting.act(eyes(2), mask=one_each)).tolist() == [[0, 0], [1, 2]]


@pytest.mark.parametrize(
    ("observation", "options", "words"),
    [
        (np.zeros(4), {}, r"'eyes' of 'walker' is float64\[4\]; expected float32\[3\], or "),
        (np.zeros((2, 2, 3)), {}, r"float64\[2, 2, 3\].*float32\[agents, 3\] for several"),
        (np.zeros((0, 3)), {}, r"float64\[0, 3\]; expected"),
        (["a", "b", "c"], {}, r"observation 'eyes' is <U1\[3\]; expected float32\[3\]"),
        ((np.zeros(3), {}), {}, r"is a tuple of parts of different shapes; expected float32\[3\]"),
        ({"ears": 1}, {}, "the observation has ears; the policy of 'walker' observes eyes"),
        ({}, {}, "the observation has nothing; the policy"),
        (np.full(3, np.nan), {}, "holds nan; all numbers must be finite"),
        (eyes(2), {"mask": np.ones((2, 5))}, r"the mask is float64\[2, 5\]; expected bool\[4\] or"),
        (eyes(2), {"mask": [2, 0, 0, 0]}, r"expected bool\[4\] or bool\[2, 4\], true or 1 where"),
        (eyes(1)[0], {"mask": [0, 0, 0, 0]}, "allows none of the 4 choices of branch 0"),
        (eyes(2), {"agents": [1]}, r"agents are \[1\]; expected 2 different numbers"),
        (eyes(2), {"agents": [1, 1]}, r"agents are \[1, 1\]; expected 2 different"),
        (eyes(2), {"agents": [0, 1.2]}, r"agents are \[0, 1\.2\]; expected whole numbers, such"),
        (eyes(2), {"agents": 3}, "agents are 3; expected whole numbers"),
        (eyes(2), {"agents": [0, 2**63]}, "expected whole numbers.* of 64 bits"),
        (eyes(2), {"agents": ["a", "b"]}, r"agents are \['a', 'b'\]; expected whole numbers"),
        (eyes(2), {"agents": [[0], [1]]}, r"agents are \[\[0\], \[1\]\]; expected whole"),
        (eyes(2), {"first": [0.5, 0]}, r"first is \[0\.5, 0\]; expected true or false, or 1 or 0"),
        (eyes(2), {"first": 2}, "first is 2; expected true or false"),
        (eyes(2), {"first": [True] * 3}, r"first is bool\[3\]; expected one value, or one for"),
        (eyes(2), {"reward": "much"}, r"reward is <U4\[\]; expected one value"),
        (eyes(2), {"reward": ""}, r"reward is <U1\[\]; expected one value"),
        (eyes(2), {"reward": []}, r"reward is float64\[0\]; expected one value, or one for each"),
        (eyes(2), {"reward": np.inf}, "reward holds inf; it must be finite"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_remembered(
    observation: Any, options: dict[str, Any], words: str
) -> None:
    acting = policy(**MEMORY)
    with pytest.raises(PolicyInputError, match=words):
        acting.act(observation, **options)
    assert agents_of(acting) == []


def test_agents_and_first_may_be_any_whole_numbers_and_flags() -> None:
    acting = policy(**MEMORY)
    acting.act(eyes(2), agents=np.array([7, 2], np.uint8), first=np.array([1, 0]))
    acting.act(eyes(1), agents=range(3, 4), first=np.True_)
    assert agents_of(acting) == [2, 3, 7]
    with pytest.raises(PolicyInputError, match=r"agents are \[2\.5\]; expected whole numbers"):
        acting.reset([2.5])  # type: ignore[list-item]
    acting.reset(iter([2, 7]))
    assert agents_of(acting) == [3]
    acting.reset([])
    assert agents_of(acting) == [3]


def test_several_observations_are_given_by_name_and_of_as_many_agents() -> None:
    acting = policy(CHOICE, EYES, CAMERA)
    camera = np.full((2, 2, 1), 255)
    assert isinstance(acting.act({"eyes": eyes(1)[0], "camera": camera}), int)
    for observation, words in (
        (eyes(1)[0], "observes eyes, camera; give a dict with all of them"),
        ({"eyes": eyes(2), "camera": camera}, "different numbers of agents: 'eyes' of 2, 'camera'"),
        ({"eyes": eyes(1)[0], "camera": camera + 1}, "expected uint8.*from 0 to 255"),
        ({"eyes": eyes(1)[0], "camera": camera / 255}, r"float64\[2, 2, 1\]; expected uint8"),
    ):
        with pytest.raises(PolicyInputError, match=words):
            acting.act(observation)


def test_a_policy_without_choices_has_none_to_mask() -> None:
    with pytest.raises(PolicyInputError, match="'walker' has no choices to mask"):
        policy(FORCE).act(eyes(1), mask=[True])


def test_a_policy_that_is_shown_rewards_asks_for_them_where_an_episode_goes_on() -> None:
    acting = policy(previous_reward=True)
    acting.act(eyes(2))
    with pytest.raises(PolicyInputError, match=r"reward of the step before; give reward=\.\.\."):
        acting.act(eyes(2))
    acting.act(eyes(2), reward=[0.0, 1.0])
    acting.act(eyes(2), first=True)


# Policies of runs


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with policies of two behaviours, and two checkpoints."""
    folder = RunFolder.create(tmp_path, "walk")
    options = {"network": {"hidden_sizes": [8]}}
    config = given_config({"policies": {"walker": options, "*": options}}, [])
    folder.write_config(to_yaml(config))
    for step, names in ((10, ["walker"]), (20, ["walker", "runner"])):
        policies = {
            str(index): {
                "spec": network(name=name).spec.state(),
                "trainer": {
                    "algorithm": {"policy": as_arrays(network(name=name, seed=step).state_dict())}
                },
            }
            for index, name in enumerate(names)
        }
        CheckpointStore(folder.checkpoints, keep=3).save({"policies": policies}, step=step)
    return folder.path


def test_the_newest_policy_of_a_run_is_loaded_or_that_of_a_checkpoint(run: Path) -> None:
    newest = Policy.load(run, "walker")
    assert (newest.env_steps, newest.spec.name) == (20, "walker")
    assert repr(newest) == f"<Policy of 'walker' from {newest.checkpoint}>"
    before = Policy.load(str(run), checkpoint="0001-step-10")
    assert before.env_steps == 10
    best = CheckpointStore(run / "checkpoints" / "best", keep=1)
    best.save(CheckpointStore(run / "checkpoints", keep=9).load_newest().state, step=15)
    assert Policy.load(run, "runner", checkpoint="best").env_steps == 15


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runner", "0001-step-10"), r"there is no 'runner'; .*walk has policies of walker"),
        ((None,), r"no behaviour is named; .*walk has policies of walker, runner"),
    ],
)
def test_a_behaviour_that_is_not_there_is_said(run: Path, arguments: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Policy.load(run, *arguments)


def test_a_checkpoint_that_is_not_there_is_said(run: Path) -> None:
    words = r"there is no checkpoint 'last' in .*it has: 0002-step-20, 0001-step-10"
    with pytest.raises(CheckpointError, match=words):
        Policy.load(run, "walker", "last")
    arrays = run / "checkpoints" / "0002-step-20" / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"0002-step-20: arrays\.safetensors has"):
        Policy.load(run, "walker", "0002-step-20")
    with pytest.raises(ConfigError, match="is no folder"):
        Policy.load(run / "nothing")
