"""What a warm start takes over beside the policy: critics, targets and temperature, or a word."""

import copy
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entrain.algorithms.off_policy import OffPolicy
from entrain.app.initial_weights import begin
from entrain.app.learning_parts import make_algorithm, make_collector
from entrain.config.load import load_config, to_yaml
from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import make_policy
from entrain.run.checkpoint import CheckpointStore
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from made_rollouts import same_state
from off_policy_cases import made_transitions

FORCES = ActionSpec(low=(-1.0,) * 2, high=(1.0,) * 2)
CHOICES = ActionSpec(branches=(3,))
ALPHA = 0.02
OTHER_FORM = "those that were learned are of networks of another form"


def made(acts: ActionSpec, *, seed: int, kind: str, **options: Any) -> OffPolicy:
    """An algorithm of a new policy, which begins as the options say."""
    learner = {"kind": kind, "learning_starts": 0, "batch_size": 4, **options.pop("by", {})}
    network = {"hidden_sizes": (4,), "activation": "tanh", **options.pop("network", {})}
    config = PolicyConfig.model_validate({"algorithm": learner, "network": network, **options})
    spec = BehaviourSpec("walker", (ObservationSpec("x", (2,)),), acts)
    policy = make_policy(spec, config, seed=seed)
    beginning = begin(policy, is_named=True)
    algorithm = make_algorithm(policy, seed=seed)
    assert isinstance(algorithm, OffPolicy)
    beginning.pass_on(algorithm, make_collector(policy))
    return algorithm


def run_of(folder: Path, trained: OffPolicy) -> Path:
    """The folder of a run whose checkpoint holds that algorithm."""
    policy = trained.method.policy
    config = load_config(None, []).model_copy(update={"policies": {"walker": policy.config}})
    folder.mkdir()
    (folder / "config.yaml").write_text(to_yaml(config))
    state = {"spec": policy.spec.state(), "trainer": {"algorithm": trained.state()}}
    CheckpointStore(folder / "checkpoints", keep=1).save({"policies": {"0": state}}, step=1)
    return folder


def trained(acts: ActionSpec, kind: str, **options: Any) -> OffPolicy:
    """After two updates; its temperature has come far."""
    one = made(acts, seed=1, kind=kind, **options)
    for seed in (3, 4):
        rows = made_transitions([0, 1, 0, 1], spec=one.method.policy.spec, seed=seed)
        one.update(rows, progress=0.0)
    state = copy.deepcopy(one.state())
    if "log_alpha" in state.get("temperature", {}):
        state["temperature"]["log_alpha"] = math.log(ALPHA)
    one.load_state(state)
    return one


@pytest.mark.parametrize(("acts", "by"), [(FORCES, {}), (CHOICES, {"batch_norm": {}})])
def test_sac_begins_with_the_critics_targets_and_temperature_of_sac(
    acts: ActionSpec, by: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = trained(acts, "sac", by=by)
    run, theirs = run_of(tmp_path / "run", one), one.state()
    with caplog.at_level(logging.INFO):
        other = made(acts, seed=2, kind="sac", by=by, initial_weights=str(run))
    state = other.state()
    critics = state["critics"]
    for name in ("critics",) if by else ("critics", "target"):
        assert same_state(critics[name], theirs["critics"][name])
    if not by:
        # Targets lag behind, and are no copies.
        heads = (critics[name]["head.weight"] for name in ("critics", "target"))
        assert not np.array_equal(*heads)
    assert same_state(state["policy"], theirs["policy"])
    assert state["temperature"]["log_alpha"] == pytest.approx(math.log(ALPHA), rel=1e-6)
    # Moments, gradient steps and the replay are of another run.
    for optimizer in (critics["optimizer"], state["temperature"]["optimizer"]):
        assert optimizer["num_steps"] == 0
    assert other.replay.num_steps == 0
    words = "its critics are taken over, too, and its temperature begins at 0.02"
    assert f"policy 'walker': {words}" in caplog.messages
    assert not [it for it in caplog.records if it.levelno > logging.INFO]


@pytest.mark.parametrize(
    ("was", "now", "alpha"),
    [
        ({"coefficient": 0.3}, {"target": {}}, 0.3),
        ({"coefficient": 0.3}, {"coefficient": 0.1}, 0.1),
        ({"target": {}}, {"coefficient": 0.1}, 0.1),
    ],
)
def test_only_a_temperature_that_is_adapted_begins_where_another_one_was(
    was: dict[str, Any], now: dict[str, Any], alpha: float
) -> None:
    first, second = (made(CHOICES, seed=1, kind="sac", entropy=it).method for it in (was, now))
    assert f"its temperature begins at {alpha:g}" in second.take_over(first.state())
    assert repr(second).endswith(f"alpha {alpha:g}>")


def test_soft_q_begins_with_its_values_whatever_they_are_weighed_by(tmp_path: Path) -> None:
    one = trained(CHOICES, "soft_q")
    run, theirs = run_of(tmp_path / "run", one), one.state()
    hotter = {"entropy": {"coefficient": 0.5}}
    other = made(CHOICES, seed=2, kind="soft_q", initial_weights=str(run), **hotter)
    for name in ("policy", "q", "target"):
        assert same_state(other.state()[name], theirs[name])
    assert other.state()["num_steps"] == 0


@pytest.mark.parametrize(
    ("was", "now", "why"),
    [
        ({"kind": "soft_q"}, {}, "the other policy was trained with algorithm.kind soft_q"),
        ({}, {"kind": "soft_q"}, "the other policy was trained with algorithm.kind sac"),
        ({}, {"reward_scale": 0.1}, "reward_scale was 1 and is 0.1"),
        ({}, {"network": {"layer_norm": True}}, "the policy itself does not fit as a whole"),
        ({}, {"by": {"critics": 3}}, OTHER_FORM),
        ({}, {"by": {"batch_norm": {}}}, OTHER_FORM),
    ],
)
def test_what_does_not_fit_begins_anew_and_is_named(
    was: dict[str, Any],
    now: dict[str, Any],
    why: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    was, now = ({"kind": "sac", **it} for it in (was, now))
    run = run_of(tmp_path / "run", made(CHOICES, seed=1, **was))
    with caplog.at_level(logging.WARNING):
        other = made(CHOICES, seed=2, initial_weights=str(run), **now)
    whose = "values" if now["kind"] == "soft_q" else "critics and temperature"
    assert caplog.messages[-1] == f"policy 'walker': its {whose} begin anew: {why}"
    if now["kind"] == "sac":
        new = made(CHOICES, seed=2, **now).state()
        critics, of_chance = (it["critics"]["critics"] for it in (other.state(), new))
        for name, weight in critics.items():
            # How they are shown observations is the actor's, which was taken over.
            is_shown = name.startswith("backbone.trunk.encoder.")
            assert is_shown or np.array_equal(weight, of_chance[name])
        assert other.state()["temperature"]["log_alpha"] == 0.0
