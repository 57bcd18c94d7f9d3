"""What a new policy begins with: which source counts, and when it must be there."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from entrain.algorithms.weights import weights_of
from entrain.app.initial_weights import begin, require_initial_weights
from entrain.app.learning_parts import make_algorithm, make_collector
from entrain.config.load import load_config, to_yaml
from entrain.config.policy import PolicyConfig
from entrain.errors import ConfigError
from entrain.policy.actor_critic import ActorCritic, make_policy
from entrain.rollout.ledger import Ledger
from entrain.run.checkpoint import CheckpointStore
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

STOCK = Path(__file__).parents[2] / "cases" / "stock_run"
LIKE_STOCK = {
    "network": {"activation": "silu", "hidden_sizes": (8, 8)},
    "action": {"clip": 3, "max_log_sigma_sq": 40},
    "observation_clip": 5,
    "normalize_values": False,
}


def policy(behaviour: str = "3DBall", *, seed: int = 0, **options: Any) -> ActorCritic:
    config = PolicyConfig.model_validate({**LIKE_STOCK, **options})
    action = ActionSpec((-1.0,) * 2, (1.0,) * 2)
    spec = BehaviourSpec(behaviour, (ObservationSpec("seen", (8,)),), action)
    return ActorCritic(spec, config, seed=seed)


def saved_run(folder: Path, saved: ActorCritic) -> Path:
    """The folder of a run of entrain that holds that policy."""
    config = load_config(None, []).model_copy(update={"policies": {saved.spec.name: saved.config}})
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    trainer = {"algorithm": {"policy": weights_of(saved)}}
    state = {"policies": {"0": {"spec": saved.spec.state(), "trainer": trainer}}}
    CheckpointStore(folder / "checkpoints", keep=1).save(state, step=1)
    return folder


def is_like(one: ActorCritic, other: ActorCritic) -> bool:
    return torch.equal(one.action_head.weight, other.action_head.weight)


def test_a_run_of_entrain_counts_more_than_the_file_beside_its_checkpoints(tmp_path: Path) -> None:
    folder, trained = tmp_path / "run", policy(seed=7)
    (folder / "3DBall").mkdir(parents=True)
    (folder / "3DBall" / "checkpoint.pt").write_bytes(
        (STOCK / "3DBall" / "checkpoint.pt").read_bytes()
    )
    before = policy(initial_weights=str(folder))
    begin(before, is_named=True)
    saved_run(folder, trained)
    after = policy(initial_weights=str(folder))
    begin(after, is_named=True)
    assert not is_like(before, trained)
    assert is_like(after, trained)


def test_a_behaviour_that_is_not_there_is_an_error_only_if_the_options_are_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for source in (STOCK, saved_run(tmp_path / "run", policy(seed=7))):
        other = policy("other", initial_weights=str(source))
        with pytest.raises(ConfigError, match=r"(holds no other/|has no policy 'other')"):
            begin(other, is_named=True)
        with caplog.at_level(logging.WARNING):
            begin(other, is_named=False)
        assert is_like(other, policy("other"))
        assert caplog.messages[-1].endswith("it begins with weights of chance")


def test_a_behaviours_name_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "checkpoint.pt").write_bytes((STOCK / "3DBall" / "checkpoint.pt").read_bytes())
    for name in ("..", ".", "x/../..", str(tmp_path)):
        with pytest.raises(ConfigError, match="holds no"):
            begin(policy(name, initial_weights=str(tmp_path / "results")), is_named=True)


def test_steps_and_moments_reach_collector_and_algorithm() -> None:
    new = policy(initial_weights=str(STOCK), initial_progress=True)
    beginning = begin(new, is_named=True)
    algorithm, collector = make_algorithm(new, seed=1), make_collector(new)
    beginning.pass_on(algorithm, collector)
    assert collector.env_steps == 400
    assert collector.ledger == Ledger(opened=400, closed=400)
    assert algorithm.state()["optimizer"]["num_steps"] == 3
    assert algorithm.version == 0


def test_progress_needs_all_to_fit_and_is_none_of_a_run_of_entrain(tmp_path: Path) -> None:
    wider: dict[str, Any] = {"network": {"activation": "silu", "hidden_sizes": (9, 9)}}
    with pytest.raises(ConfigError, match=r"needs \[2, 8, 9\].*hidden_sizes: \[8, 8\]"):
        begin(policy(initial_weights=str(STOCK), initial_progress=True, **wider), is_named=True)
    run = saved_run(tmp_path / "run", policy())
    with pytest.raises(ConfigError, match="a run of entrain; to go on with it, resume it"):
        begin(policy(initial_weights=str(run), initial_progress=True), is_named=True)
    with pytest.raises(ValueError, match="initial_weights is not given"):
        PolicyConfig(initial_progress=True)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("observation_encoder.processors.0.conv_layers.0.weight", "sees images or entities"),
        ("observation_encoder.rsa.fc_q.weight", "sees images or entities"),
        ("_body_endoder.layers.2.hypernet.0.weight", "goals act by a hypernetwork"),
    ],
)
def test_a_checkpoint_with_layers_that_are_none_of_ours_is_refused_before_the_run(
    tmp_path: Path, layer: str, words: str
) -> None:
    content = torch.load(STOCK / "3DBall" / "checkpoint.pt", weights_only=True)
    content["Policy"][f"network_body.{layer}"] = torch.zeros(2, 2)
    torch.save(content, tmp_path / "a.pt")
    options = policy(initial_weights=str(tmp_path / "a.pt")).config
    config = load_config(None, []).model_copy(update={"policies": {"3DBall": options}})
    with pytest.raises(ConfigError, match=rf"a\.pt: .*{words}"):
        require_initial_weights(config, begun=frozenset())


def test_what_a_checkpoint_holds_already_needs_no_file(tmp_path: Path) -> None:
    gone = policy(initial_weights=str(tmp_path / "gone")).config
    for name in ("3DBall", "*"):
        config = load_config(None, []).model_copy(update={"policies": {name: gone}})
        with pytest.raises(ConfigError, match="gone"):
            require_initial_weights(config, begun=frozenset())
    named = load_config(None, []).model_copy(update={"policies": {"3DBall": gone}})
    require_initial_weights(named, begun=frozenset({"3DBall"}))


def test_weights_of_mlagents_learn_are_for_ppo_alone() -> None:
    options = PolicyConfig.model_validate(
        {"algorithm": {"kind": "soft_q"}, "initial_weights": str(STOCK)}
    )
    spec = BehaviourSpec("3DBall", policy().spec.observations, ActionSpec(branches=(3,)))
    with pytest.raises(ConfigError, match=r"by algorithm\.kind ppo alone, and this policy's is"):
        begin(make_policy(spec, options, seed=0), is_named=True)
