"""A `checkpoint.pt` of mlagents-learn becomes a policy that computes and learns on alike."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from entrain.algorithms.optimizer import Adam
from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic
from entrain.unity.models.correspondence import their_moments, their_tensors
from entrain.unity.models.stock_checkpoint import load_stock_checkpoint
from entrain.unity.models.stock_names import ADAM, CONSTANTS, CRITIC, POLICY, STEPS
from entrain.unity.models.stock_writing import save_stock_checkpoint, writing_misfit
from entrain.unity.models.warm_start import apply_stock_checkpoint, optimizer_state
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

RUN = Path(__file__).parents[2] / "cases" / "stock_run"
"""Made with the classes of mlagents 1.1.0 by tests/interop/make_stock_run.py."""

WIDTH, ROWS, MEMORY = 6, 9, 4
CASES: dict[str, tuple[tuple[int, ...], int, tuple[int, ...], bool, bool]] = {
    "continuous": ((4, 3), 2, (), False, True),
    "discrete": ((4,), 0, (3, 2), False, False),
    "hybrid with shared layers": ((4,), 2, (3,), True, True),
    "lstm": ((4,), 2, (), False, True),
    "goal before a vector": ((2, 3), 2, (), False, True),
}
"""{name: (sizes of observations, dimensions, branches, shared, normalised)}."""


class Theirs:
    """A network with the names and formulas of mlagents-learn's, written from its description."""

    def __init__(self, case: str) -> None:
        torch.manual_seed(5)
        self.sizes, self.dimensions, self.branches, self.shared, normalised = CASES[case]
        self.lstm = case == "lstm"
        self.policy = self._body(normalised)
        inputs = MEMORY if self.lstm else WIDTH
        if self.dimensions:
            name = "action_model._continuous_distribution"
            self.policy |= self._linear(f"{name}.mu", inputs, self.dimensions)
            self.policy[f"{name}.log_sigma"] = torch.randn(1, self.dimensions) * 0.5
        for index, size in enumerate(self.branches):
            name = f"action_model._discrete_distribution.branches.{index}"
            self.policy |= self._linear(name, inputs, size)
        self.critic = self.policy if self.shared else self._body(normalised)
        self.critic |= self._linear("value_heads.value_heads.extrinsic", inputs, 1)

    def _linear(self, name: str, inputs: int, outputs: int) -> dict[str, Tensor]:
        layer = nn.Linear(inputs, outputs)
        return {f"{name}.{part}": it.detach() for part, it in layer.state_dict().items()}

    def _body(self, normalised: bool) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for index, size in enumerate(self.sizes if normalised else ()):
            prefix = f"network_body.observation_encoder.processors.{index}.normalizer"
            tensors[f"{prefix}.normalization_steps"] = torch.tensor(11)
            tensors[f"{prefix}.running_mean"] = torch.arange(size).float()
            tensors[f"{prefix}.running_variance"] = 11.0 * (1.0 + torch.arange(size))
        for index, inputs in enumerate((sum(self.sizes), WIDTH)):
            name = f"network_body._body_endoder.seq_layers.{2 * index}"
            tensors |= self._linear(name, inputs, WIDTH)
        if self.lstm:
            lstm = nn.LSTM(WIDTH, MEMORY).state_dict()
            tensors |= {f"network_body.lstm.lstm.{part}": it for part, it in lstm.items()}
        return tensors

    def save(self, path: Path) -> Path:
        """As mlagents-learn does."""
        steps = {"_GlobalSteps__global_step": torch.tensor([777])}
        content = {"Policy": self.policy, "Optimizer:critic": self.critic, "global_step": steps}
        torch.save(content, path)
        return path

    def features(self, part: dict[str, Tensor], seen: list[Tensor], state: Tensor) -> Tensor:
        """[ROWS, WIDTH or MEMORY]."""
        if "network_body.observation_encoder.processors.0.normalizer.running_mean" in part:
            # Mean i, variance 1 + i: see `_body`.
            seen = [
                ((x - torch.arange(x.shape[1])) / (1.0 + torch.arange(x.shape[1])).sqrt()).clamp(
                    -5, 5
                )
                for x in seen
            ]
        x = torch.cat(seen, dim=1)
        for index in (0, 2):
            name = f"network_body._body_endoder.seq_layers.{index}"
            x = nn.functional.silu(x @ part[f"{name}.weight"].T + part[f"{name}.bias"])
        if not self.lstm:
            return x
        cell = nn.LSTMCell(WIDTH, MEMORY)
        for name, parameter in cell.named_parameters():
            parameter.data = part[f"network_body.lstm.lstm.{name}_l0"]
        hidden: Tensor = cell(x, (state[:, :MEMORY], state[:, MEMORY:]))[0]
        return hidden


def ours(case: str, **options: Any) -> ActorCritic:
    sizes, dimensions, branches, shared, normalised = CASES[case]
    network: dict[str, Any] = {"activation": "silu", "hidden_sizes": (WIDTH,) * 2, "shared": shared}
    is_goal = case == "goal before a vector"
    if is_goal:
        network["goal_conditioning"] = "concatenate"
    if case == "lstm":
        network["memory"] = {"kind": "lstm", "size": MEMORY}
    config = PolicyConfig.model_validate(
        {
            "network": network | options,
            "action": {"clip": 3},
            "observation_clip": 5,
            "normalize_observations": normalised,
        }
    )
    observations = tuple(
        ObservationSpec(f"obs {i}", (n,), kind="goal" if is_goal and not i else "vector")
        for i, n in enumerate(sizes)
    )
    action = ActionSpec((-1.0,) * dimensions, (1.0,) * dimensions, branches)
    return ActorCritic(BehaviourSpec("Ball", observations, action), config, seed=0)


@pytest.mark.parametrize("case", CASES)
def test_a_policy_computes_what_the_checkpoint_does(case: str, tmp_path: Path) -> None:
    theirs, policy = Theirs(case), ours(case)
    checkpoint = load_stock_checkpoint(theirs.save(tmp_path / "checkpoint.pt"))
    notes = apply_stock_checkpoint(checkpoint, policy)
    assert "after 777 steps" in notes[0]
    seen = [torch.randn(ROWS, size) * 4 for size in theirs.sizes]
    state = torch.randn(ROWS, policy.state_size)
    halves = state[:, : 2 * MEMORY], state[:, 2 * MEMORY :]
    with torch.no_grad():
        observation = {f"obs {i}": x.unsqueeze(0) for i, x in enumerate(seen)}
        out = policy(observation, state, torch.zeros(1, ROWS, dtype=torch.bool))
        acting = theirs.features(theirs.policy, seen, halves[0])
        valuing = theirs.features(theirs.critic, seen, halves[1]) if not theirs.shared else acting
    parameters = out.distribution.parameters()
    expected = {"value": linear(theirs.critic, "value_heads.value_heads.extrinsic", valuing)}
    arrived = {"value": out.value[0], **{name: it[0] for name, it in parameters.items()}}
    if theirs.dimensions:
        name = "action_model._continuous_distribution"
        expected["action_mean"] = linear(theirs.policy, f"{name}.mu", acting)
        log_sigma_sq = 2.0 * theirs.policy[f"{name}.log_sigma"]
        expected["log_sigma_sq"] = log_sigma_sq.expand(ROWS, -1)
    if theirs.branches:
        name = "action_model._discrete_distribution.branches"
        logits = [linear(theirs.policy, f"{name}.{i}", acting) for i in range(len(theirs.branches))]
        expected["logits"] = torch.cat(logits, dim=1)
    assert arrived.keys() == expected.keys()
    for name, wanted in expected.items():
        torch.testing.assert_close(arrived[name], wanted, atol=2e-6, rtol=1e-5)


def linear(part: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ part[f"{name}.weight"].T + part[f"{name}.bias"]


def test_a_policy_of_another_size_is_refused_with_the_options_that_fit(tmp_path: Path) -> None:
    checkpoint = load_stock_checkpoint(Theirs("continuous").save(tmp_path / "checkpoint.pt"))
    policy = ours("continuous", hidden_sizes=(8, 8))
    before = [parameter.clone() for parameter in policy.parameters()]
    with pytest.raises(CheckpointError, match=r"network\.hidden_sizes: \[6, 6\].*memory: none"):
        apply_stock_checkpoint(checkpoint, policy)
    assert all(map(torch.equal, before, policy.parameters()))


def test_a_checkpoint_without_memory_is_not_one_of_an_lstm(tmp_path: Path) -> None:
    checkpoint = load_stock_checkpoint(Theirs("lstm").save(tmp_path / "checkpoint.pt"))
    with pytest.raises(CheckpointError, match="kind: lstm, size: 4"):
        apply_stock_checkpoint(checkpoint, ours("lstm", memory={"kind": "none"}))


def of_the_real_run() -> ActorCritic:
    """A policy for RUN."""
    config = PolicyConfig.model_validate(
        {
            "network": {"activation": "silu", "hidden_sizes": (8, 8)},
            "algorithm": {"adam_epsilon": 1e-8},
            "action": {"clip": 3, "max_log_sigma_sq": 40},
            "observation_clip": 5,
            "normalize_values": False,
        }
    )
    seen = (ObservationSpec("seen", (8,)),)
    action = ActionSpec((-1.0,) * 2, (1.0,) * 2, ())
    return ActorCritic(BehaviourSpec("3DBall", seen, action), config, seed=0)


def computed(policy: ActorCritic) -> dict[str, Tensor]:
    """What a policy makes of the rows of RUN, under the names of its file."""
    rows = torch.tensor(json.loads((RUN / "expected.json").read_text())["rows"])
    out = policy({"seen": rows.unsqueeze(0)}, torch.zeros(4, 0), torch.zeros(1, 4).bool())
    parameters = out.distribution.parameters()
    return {
        "mean": parameters["action_mean"][0],
        "log_sigma": parameters["log_sigma_sq"][0, 0] / 2.0,
        "value": out.value[0, :, 0],
    }


def expected(when: str, name: str) -> Tensor:
    return torch.tensor(json.loads((RUN / "expected.json").read_text())[when][name])


def test_a_real_checkpoint_computes_what_the_real_network_did() -> None:
    policy = of_the_real_run()
    checkpoint = load_stock_checkpoint(RUN / "3DBall")
    assert (checkpoint.steps, checkpoint.moments.num_steps, checkpoint.others) == (400, 3, ())
    assert len(apply_stock_checkpoint(checkpoint, policy)) == 1
    for name, arrived in computed(policy).items():
        torch.testing.assert_close(arrived, expected("now", name), atol=1e-6, rtol=1e-6)
    # The first row's mean, as mlagents' own classes gave it.
    assert computed(policy)["mean"][0].tolist() == pytest.approx([-0.6770174, 0.8014565], abs=1e-6)


def test_the_optimizer_goes_on_where_the_real_one_was() -> None:
    policy = of_the_real_run()
    checkpoint = load_stock_checkpoint(RUN / "3DBall")
    apply_stock_checkpoint(checkpoint, policy)
    adam = Adam(policy, epsilon=1e-8, max_grad_norm=0.0)
    adam.load_state(optimizer_state(checkpoint, policy))
    # The loss of make_stock_run.py, whose gradient every weight has a part in.
    now = computed(policy)
    mean, value = now["mean"].mean(dim=0), now["value"]
    loss = mean[0] - mean[1] + now["log_sigma"].sum() + (value - 1.0).square().mean()
    adam.step(loss, learning_rate=0.01)
    then = computed(policy)
    for name in ("mean", "value"):
        torch.testing.assert_close(then[name], expected("then", name), atol=2e-6, rtol=2e-6)
    # Where the gradient is the same in every step, Adam moves a weight by the learning rate. Ours
    # is the logarithm of sigma squared, theirs that of sigma.
    moved = then["log_sigma"] - now["log_sigma"]
    assert moved.tolist() == pytest.approx([-0.005, -0.005], abs=1e-6)


def test_moments_that_are_not_of_the_weights_are_not_taken(tmp_path: Path) -> None:
    content = torch.load(RUN / "3DBall" / "checkpoint.pt", weights_only=True)
    path = tmp_path / "checkpoint.pt"
    state = content[ADAM]["state"]
    of_one = state[6]
    wrong: dict[str, Any]
    for wrong in (
        {"state": {**state, 6: {**of_one, "exp_avg": torch.zeros(3)}}},
        {"state": {**state, 6: {**of_one, "exp_avg_sq": torch.full((8, 8), -1.0)}}},
        {"state": {**state, 6: {**of_one, "exp_avg": torch.full((8, 8), float("inf"))}}},
        {"state": {**state, 6: {**of_one, "step": torch.tensor(float("nan"))}}},
        {"state": {**state, 99: of_one}},
        {"state": []},
        {"param_groups": [{"params": [0]}]},
        {"param_groups": 3},
    ):
        torch.save(content | {ADAM: content[ADAM] | wrong}, path)
        assert load_stock_checkpoint(path).moments.num_steps == 0


@pytest.mark.parametrize("case", CASES)
def test_a_policy_in_their_form_is_that_policy_again(case: str, tmp_path: Path) -> None:
    checkpoint = load_stock_checkpoint(Theirs(case).save(tmp_path / "checkpoint.pt"))
    first, second = ours(case), ours(case)
    apply_stock_checkpoint(checkpoint, first)
    moments = {
        kind: {name: torch.rand_like(it) + 0.1 for name, it in first.named_parameters()}
        for kind in ("mean", "mean_square")
    }
    state: dict[int, dict[str, Tensor]] = {}
    for power, (kind, name) in enumerate((("mean", "exp_avg"), ("mean_square", "exp_avg_sq")), 1):
        for index, tensor in enumerate(their_moments(first, moments[kind], power), len(CONSTANTS)):
            state.setdefault(index, {"step": torch.tensor(9.0)})[name] = tensor
    tensors = their_tensors(first)
    actor = {name: torch.zeros(1) for name in CONSTANTS} | dict(tensors[POLICY])
    critic = actor if first.config.network.shared else tensors[CRITIC]
    adam = {"state": state, "param_groups": [{"params": list(range(len(CONSTANTS) + len(state)))}]}
    steps = {"step": torch.tensor([5])}
    again = {POLICY: actor, CRITIC: critic, ADAM: adam, STEPS: steps}
    torch.save(again, tmp_path / "again.pt")
    loaded = load_stock_checkpoint(tmp_path / "again.pt")
    apply_stock_checkpoint(loaded, second)
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    arrived = optimizer_state(loaded, second)
    assert arrived["num_steps"] == 9
    for kind, by_name in moments.items():
        for name, tensor in by_name.items():
            torch.testing.assert_close(torch.from_numpy(arrived[kind][name]), tensor)


def test_what_does_not_fit_is_left_alone_and_named_if_a_part_is_enough(tmp_path: Path) -> None:
    theirs = Theirs("continuous")
    name = "action_model._continuous_distribution"
    theirs.policy |= theirs._linear(f"{name}.mu", WIDTH, 5)
    theirs.policy[f"{name}.log_sigma"] = torch.zeros(1, 5)
    for part in ("weight", "bias"):
        del theirs.critic[f"value_heads.value_heads.extrinsic.{part}"]
    checkpoint = load_stock_checkpoint(theirs.save(tmp_path / "checkpoint.pt"))
    policy = ours("continuous")
    before = policy.action_head.weight.clone()
    words = "its action head, of 5 continuous dimensions; this policy's is of 2"
    with pytest.raises(CheckpointError, match=words):
        apply_stock_checkpoint(checkpoint, policy)
    notes = apply_stock_checkpoint(checkpoint, policy, partly=True)
    assert notes[1:] == (
        f"not taken over: {words} continuous dimensions",
        "not taken over: a critic; that policy has none",
    )
    assert torch.equal(policy.action_head.weight, before)
    weight = theirs.policy["network_body._body_endoder.seq_layers.2.weight"]
    layers = policy.get_parameter("backbone.trunk.hidden_layers.layers.1.weight")
    assert torch.equal(layers[0].T, weight)


def test_numbers_that_are_not_finite_are_refused_before_anything_is_changed(
    tmp_path: Path,
) -> None:
    for spoiled in ("network_body._body_endoder.seq_layers.2.weight", PROCESSOR):
        theirs = Theirs("continuous")
        theirs.policy[spoiled][0] = float("nan")
        checkpoint = load_stock_checkpoint(theirs.save(tmp_path / "checkpoint.pt"))
        policy = ours("continuous")
        before = [parameter.clone() for parameter in policy.parameters()]
        with pytest.raises(CheckpointError, match=f"'{spoiled}' holds numbers that are not finite"):
            apply_stock_checkpoint(checkpoint, policy)
        assert all(map(torch.equal, before, policy.parameters()))


PROCESSOR = "network_body.observation_encoder.processors.0.normalizer.running_mean"


def flat(content: Any, path: str = "") -> dict[str, Any]:
    """{path: tensor or plain value} of nested dicts and lists."""
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    if not isinstance(content, dict):
        return {path: content}
    pairs = content.items()
    return {name: it for key, each in pairs for name, it in flat(each, f"{path}/{key}").items()}


def test_a_policy_is_written_as_the_real_checkpoint_was(tmp_path: Path) -> None:
    policy = of_the_real_run()
    checkpoint = load_stock_checkpoint(RUN / "3DBall")
    apply_stock_checkpoint(checkpoint, policy)
    moments = optimizer_state(checkpoint, policy)
    save_stock_checkpoint(policy, moments, tmp_path / "checkpoint.pt", steps=400)
    real = flat(torch.load(RUN / "3DBall" / "checkpoint.pt", weights_only=True))
    written = flat(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    # Its version of torch has one option more than those that mlagents-learn is pinned to; the rate
    # is set before each step.
    group = "/Optimizer:value_optimizer/param_groups/0"
    for content in (real, written):
        content.pop(f"{group}/decoupled_weight_decay", None)
        content.pop(f"{group}/lr")
    assert list(written) == list(real)
    for name, wanted in real.items():
        arrived = written[name]
        if isinstance(wanted, Tensor):
            assert (arrived.dtype, arrived.shape) == (wanted.dtype, wanted.shape), name
            torch.testing.assert_close(arrived, wanted, atol=1e-6, rtol=1e-5)
        else:
            assert arrived == wanted, name


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_read_as_the_same_policy(case: str, tmp_path: Path) -> None:
    first, second = ours_as_translated(case), ours_as_translated(case)
    apply_stock_checkpoint(
        load_stock_checkpoint(Theirs(case).save(tmp_path / "checkpoint.pt")), first
    )
    first.value_head.normalizer.normalizes = False
    assert writing_misfit(first) == ""
    adam = Adam(first, epsilon=1e-8, max_grad_norm=0.0)
    for _ in range(2):
        adam.step(
            sum((it.square().sum() for it in first.parameters()), torch.zeros(())),
            learning_rate=0.01,
        )
    save_stock_checkpoint(first, adam.state(), tmp_path / "written.pt", steps=55)
    checkpoint = load_stock_checkpoint(tmp_path / "written.pt")
    said = [checkpoint.policy[name].tolist() for name in CONSTANTS]
    assert (
        said
        == {
            "continuous": [[3.0], [1.0], [2.0], [[]], [2.0], [0.0]],
            "discrete": [[3.0], [0.0], [0.0], [[3.0, 2.0]], [5.0], [0.0]],
            "hybrid with shared layers": [[3.0], [0.0], [2.0], [[3.0]], [5.0], [0.0]],
            "lstm": [[3.0], [1.0], [2.0], [[]], [2.0], [2.0 * MEMORY]],
            "goal before a vector": [[3.0], [1.0], [2.0], [[]], [2.0], [0.0]],
        }[case]
    )
    assert (checkpoint.steps, checkpoint.moments.num_steps, checkpoint.others) == (55, 2, ())
    apply_stock_checkpoint(checkpoint, second)
    for (name, one), other in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(other, one, msg=name, atol=1e-5, rtol=1e-5)
    read, wanted = optimizer_state(checkpoint, second), adam.state()
    for kind in ("mean", "mean_square"):
        for name, moment in wanted[kind].items():
            arrived = torch.from_numpy(read[kind][name])
            torch.testing.assert_close(arrived, torch.from_numpy(moment), msg=name)


def ours_as_translated(case: str) -> ActorCritic:
    """As settings of ML-Agents mean it."""
    policy = ours(case)
    config = policy.config.model_copy(update={"normalize_values": False})
    return ActorCritic(policy.spec, config, seed=3)


def test_what_mlagents_learn_has_no_network_for_is_not_written() -> None:
    assert "normalize_values" in writing_misfit(ours("continuous"))
    policy = ours_as_translated("continuous")
    network = policy.config.network.model_copy(update={"hidden_sizes": (4, 8)})
    config = policy.config.model_copy(update={"network": network})
    assert "of one size" in writing_misfit(ActorCritic(policy.spec, config, seed=0))
    seen = (ObservationSpec("camera", (12, 12, 3), "uint8"),)
    spec = BehaviourSpec("Ball", seen, policy.spec.action)
    assert "images" in writing_misfit(ActorCritic(spec, policy.config, seed=0))
