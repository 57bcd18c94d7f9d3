"""A run with the policy of another run as its prior: it stays near it, or says why it cannot."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from entrain.algorithms.entropy import Entropy, PriorDivergence
from entrain.algorithms.weights import weights_of
from entrain.app.build import load_policies
from entrain.app.launcher import Launcher
from entrain.app.priors import make_regularizer
from entrain.app.training import TrainingRun
from entrain.config.load import load_config, to_yaml
from entrain.config.policy import PolicyConfig
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, NoSimulatorError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.policy.categorical import MultiCategorical
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.log_display import LogDisplay
from entrain.state import State
from entrain_envs.client import TrainerClient
from entrain_envs.errors import RefusedError
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from live_run import Moment, config_from, differences, newest, simulators, train
from toy_environments import DiscreteBandit

SPEC = DiscreteBandit([0.0, 0.0, 0.0], num_agents=1).spec
OTHER = BehaviourSpec("another", SPEC.observations, SPEC.action)

CONFIG = """
seed: 5
server: {{address: "unix:{socket}", lockstep: true}}
policies:
  toy:
    total_steps: 2560
    network: {{hidden_sizes: [8]}}
    entropy: {entropy}
    rollout_steps: 256
    algorithm: {{minibatch_size: 128, num_epochs: 8, learning_rate: 0.03}}
"""


def with_prior(path: Path | str, *, coefficient: float = 1.0) -> str:
    return f'{{coefficient: {coefficient}, prior: "{path}"}}'


def a_config(folder: Path, entropy: str = "{}", *overrides: str) -> RunConfig:
    folder.mkdir(exist_ok=True)
    config_from(CONFIG.format(socket=folder / "s", entropy=entropy), folder)
    return load_config(folder / "config.yaml", overrides)


def saved_run(
    folder: Path,
    *,
    spec: BehaviourSpec = SPEC,
    favourite: int = 0,
    memory: str = "none",
    beside_another: bool = False,
) -> RunFolder:
    """The folder of a run whose policy chooses `favourite` with 98 %, written without training.

    Beside another, whose policy comes first and chooses 2.
    """
    config = a_config(folder, "{}", f"policies.toy.network.memory.kind={memory}")
    options = config.policy_for(spec.name) or config.policies["toy"]
    others = [OTHER] if beside_another else []
    config = config.model_copy(
        update={"policies": {each.name: options for each in [*others, spec]}}
    )
    run_folder = RunFolder.create(folder / "runs", "before")
    run_folder.write_config(to_yaml(config))
    chosen = [(other, 2) for other in others] + [(spec, favourite)]
    state = {
        "policies": {
            str(index): {
                "spec": each.state(),
                "trainer": {"algorithm": {"policy": weights(each, options, choice)}},
            }
            for index, (each, choice) in enumerate(chosen)
        }
    }
    CheckpointStore(run_folder.checkpoints, keep=1).save(state, step=1)
    return run_folder


def weights(spec: BehaviourSpec, options: PolicyConfig, favourite: int) -> State:
    policy = ActorCritic(spec, options, seed=1)
    with torch.no_grad():
        # e^4.6 = 99: 99 / 101 beside two others.
        policy.action_head.bias[favourite] = 4.6
    return weights_of(policy)


async def trained(config: RunConfig, folder: Path, *stops: Moment) -> RunFolder:
    """A run on a bandit that pays for the last of three choices alone."""
    run_folder = RunFolder.create(folder / "runs", "run")
    run_folder.write_config(to_yaml(config))
    bandit = DiscreteBandit([0.0, 0.0, 1.0], num_agents=32)
    with simulators(config.server.address, {"bandit": bandit}):
        for sitting, moment in enumerate(stops):
            await train(config, run_folder, stop_at=moment, resumed=sitting > 0)
        outcome, _ = await train(config, run_folder, resumed=bool(stops))
    assert outcome == "completed"
    return run_folder


def chances(folder: RunFolder) -> list[float]:
    """Of the three choices, by the newest checkpoint of a run."""
    config = load_config(folder.config, [])
    policy = load_policies(config, newest(folder))["toy"]
    return chances_of(policy)


def chances_of(policy: ActorNetwork) -> list[float]:
    with torch.no_grad():
        output = policy(
            {"seen": torch.ones(1, 1, 1)},
            policy.initial_state(1),
            torch.zeros(1, 1, dtype=torch.bool),
        )
    assert isinstance(output.distribution, MultiCategorical)
    chances = output.distribution.masked(torch.ones(1, 1, 3).bool()).log_probs.exp()
    return [float(chance) for chance in chances.flatten()]


async def test_a_run_stays_near_its_prior_and_one_without_leaves_it(tmp_path: Path) -> None:
    prior = saved_run(tmp_path / "before")
    assert chances(prior) == pytest.approx([0.98, 0.01, 0.01], abs=0.002)
    near = await trained(
        a_config(tmp_path / "near", with_prior(prior.path, coefficient=30.0)), tmp_path / "near"
    )
    free = await trained(a_config(tmp_path / "free"), tmp_path / "free")
    # The best is p ~ prior * exp(advantage / alpha), near the prior where alpha is large.
    assert chances(near)[0] > 0.9
    assert chances(free)[2] > 0.9


async def test_a_small_coefficient_lets_the_reward_win(tmp_path: Path) -> None:
    prior = saved_run(tmp_path / "before")
    config = a_config(tmp_path / "far", with_prior(prior.path, coefficient=0.001))
    assert chances(await trained(config, tmp_path / "far"))[2] > 0.9


async def test_a_run_with_a_prior_is_resumed_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_run(tmp_path / "before")
    # Relative to where the trainer is started, not to the settings file or the run's folder.
    monkeypatch.chdir(tmp_path)
    finals = []
    for name, stops in [("straight", []), ("resumed", [lambda run: run.env_steps >= 1000])]:
        config = a_config(tmp_path / name, with_prior("before/runs/before"))
        folder = await trained(config, tmp_path / name, *stops)
        trainer = newest(folder).state["policies"]["0"]["trainer"]
        finals.append({key: part for key, part in trainer.items() if key != "progress"})
    straight, resumed = finals
    assert differences(straight, resumed) == []


# What is wrong is said before a simulator is waited for, if it can be known.


def begun(config: RunConfig, folder: Path) -> TrainingRun:
    return TrainingRun(
        config,
        RunFolder.create(folder / "runs", "run"),
        LogDisplay(),
        launcher=lambda _: Launcher([], environment={}),
    )


def test_a_prior_that_is_no_folder_is_refused_at_once(tmp_path: Path) -> None:
    config = a_config(tmp_path / "new", with_prior(tmp_path / "nowhere"))
    with pytest.raises(ConfigError) as caught:
        begun(config, tmp_path / "new")
    message = str(caught.value)
    assert message.startswith("entropy.prior of 'toy' cannot be used: ")
    assert "nowhere is no folder" in message
    assert message.endswith(
        "A relative path starts at the directory in which the trainer was started"
    )


def test_a_run_that_never_saved_is_no_prior(tmp_path: Path) -> None:
    prior = RunFolder.create(tmp_path / "runs", "empty")
    prior.write_config("name: empty\n")
    config = a_config(tmp_path / "new", with_prior(prior.path))
    with pytest.raises(ConfigError, match="cannot be used: there is no checkpoint in"):
        begun(config, tmp_path / "new")


def test_a_prior_for_every_behaviour_is_looked_for_at_once_as_well(tmp_path: Path) -> None:
    options = a_config(tmp_path / "new", with_prior(tmp_path / "nowhere")).policies["toy"]
    config = a_config(tmp_path / "new").model_copy(update={"policies": {"*": options}})
    with pytest.raises(ConfigError, match="nowhere is no folder"):
        begun(config, tmp_path / "new")


def test_a_run_without_that_behaviour_is_no_prior(tmp_path: Path) -> None:
    walker = BehaviourSpec("walker", SPEC.observations, SPEC.action)
    prior = saved_run(tmp_path / "before", spec=walker)
    config = a_config(tmp_path / "new", with_prior(prior.path))
    words = rf"entropy\.prior {prior.path} has no policy 'toy' \(it has: walker\); name the folder"
    with pytest.raises(ConfigError, match=words):
        begun(config, tmp_path / "new")


def test_one_prior_for_every_behaviour_is_refused_when_another_behaviour_comes(
    tmp_path: Path,
) -> None:
    walker = BehaviourSpec("walker", SPEC.observations, SPEC.action)
    prior = saved_run(tmp_path / "before", spec=walker)
    options = a_config(tmp_path / "new", with_prior(prior.path)).policies["toy"]
    config = a_config(tmp_path / "new").model_copy(update={"policies": {"*": options}})
    run = begun(config, tmp_path / "new")
    run._trainers.make_all([walker])
    with pytest.raises(ConfigError, match="has no policy 'toy'"):
        run._trainers.make_all([SPEC])
    assert list(run.trainers) == ["walker"]


# The rest is said when a simulator says what its behaviour is.


def regularized(prior: RunFolder, folder: Path, spec: BehaviourSpec, **options: Any) -> Any:
    overrides = [f"policies.toy.{name}={value}" for name, value in options.items()]
    config = a_config(folder, with_prior(prior.path), *overrides)
    policy = ActorCritic(spec, config.policies["toy"], seed=0)
    return make_regularizer(policy)


def test_a_prior_for_another_spec_is_refused(tmp_path: Path) -> None:
    prior = saved_run(tmp_path / "before")
    for other in (
        BehaviourSpec("toy", SPEC.observations, ActionSpec(branches=(4,))),
        BehaviourSpec("toy", (ObservationSpec("seen", (2,)),), SPEC.action),
    ):
        with pytest.raises(ConfigError, match="'toy' was trained for another spec"):
            regularized(prior, tmp_path / "new", other)


def test_a_prior_with_memory_is_refused(tmp_path: Path) -> None:
    prior = saved_run(tmp_path / "before", memory="gru")
    with pytest.raises(ConfigError, match="of 'toy' has memory, which a prior must not have"):
        regularized(prior, tmp_path / "new", SPEC)


def test_a_policy_with_memory_may_have_a_prior_without(tmp_path: Path) -> None:
    prior = saved_run(tmp_path / "before")
    options = {"network.memory.kind": "gru"}
    assert isinstance(regularized(prior, tmp_path / "new", SPEC, **options), PriorDivergence)


async def test_a_simulator_that_the_prior_does_not_fit_is_refused_with_those_words(
    tmp_path: Path,
) -> None:
    four = BehaviourSpec("toy", SPEC.observations, ActionSpec(branches=(4,)))
    prior = saved_run(tmp_path / "before", spec=four)
    config = a_config(tmp_path, with_prior(prior.path), "simulators.wait_s=2.0")
    client = TrainerClient(config.server.address, [SPEC], simulator="bandit", connect_s=20.0)
    joining = asyncio.create_task(asyncio.to_thread(client.connect))
    words = r"bandit@.*another spec.* name a run of the same simulator"
    with pytest.raises(NoSimulatorError, match=f"Refused: {words}"):
        await begun(config, tmp_path).run(asyncio.Event())
    with pytest.raises(RefusedError, match=words):
        await joining


# What it is made of.


def test_without_a_prior_it_is_the_entropy(tmp_path: Path) -> None:
    policy = ActorCritic(SPEC, a_config(tmp_path).policies["toy"], seed=0)
    assert isinstance(make_regularizer(policy), Entropy)


def test_where_the_prior_was_trained_does_not_matter(tmp_path: Path) -> None:
    # It may have been a GPU, and this machine may have none.
    prior = saved_run(tmp_path / "before")
    text = prior.config.read_text()
    assert "\ndevice: cpu\n" in text
    prior.write_config(text.replace("\ndevice: cpu\n", "\ndevice: cuda\n"))
    assert isinstance(regularized(prior, tmp_path / "new", SPEC), PriorDivergence)


def test_the_prior_of_a_run_is_its_newest_checkpoint_and_never_learns(tmp_path: Path) -> None:
    prior = saved_run(tmp_path / "before", favourite=1)
    divergence = regularized(prior, tmp_path / "new", SPEC)
    assert chances_of(divergence._prior) == pytest.approx([0.01, 0.98, 0.01], abs=0.002)
    assert not any(weights.requires_grad for weights in divergence._prior.parameters())


def test_of_several_policies_it_is_the_one_of_the_same_behaviour(tmp_path: Path) -> None:
    prior = saved_run(tmp_path / "before", favourite=1, beside_another=True)
    divergence = regularized(prior, tmp_path / "new", SPEC)
    assert chances_of(divergence._prior)[1] == pytest.approx(0.98, abs=0.002)
