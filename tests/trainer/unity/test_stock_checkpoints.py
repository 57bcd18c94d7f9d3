"""A `checkpoint.pt` of mlagents-learn becomes a policy that computes the same, and runs nothing."""

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic
from entrain.unity.models.stock_checkpoint import load_stock_checkpoint
from entrain.unity.models.warm_start import apply_stock_checkpoint
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

WIDTH, ROWS, MEMORY = 6, 9, 4
CASES: dict[str, tuple[tuple[int, ...], int, tuple[int, ...], bool, bool]] = {
    "continuous": ((4, 3), 2, (), False, True),
    "discrete": ((4,), 0, (3, 2), False, False),
    "hybrid with shared layers": ((4,), 2, (3,), True, True),
    "lstm": ((4,), 2, (), False, True),
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
    observations = tuple(ObservationSpec(f"obs {i}", (n,)) for i, n in enumerate(sizes))
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


class Hostile:
    """Would run a command if it were unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_nothing_in_a_hostile_file_is_run(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"Policy": Hostile()}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="holds more than tensors") as told:
        load_stock_checkpoint(tmp_path)
    assert "\n" not in str(told.value)
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_tensors_that_feign_a_size_are_refused(tmp_path: Path) -> None:
    theirs = Theirs("continuous")
    theirs.policy["huge"] = torch.zeros(1).expand(10**12)
    with pytest.raises(CheckpointError, match="no tensors under 'Policy'"):
        load_stock_checkpoint(theirs.save(tmp_path / "checkpoint.pt"))


def test_files_that_are_none_are_refused_in_one_line(tmp_path: Path) -> None:
    path = Theirs("continuous").save(tmp_path / "checkpoint.pt")
    whole = path.read_bytes()
    for content in (b"", b"rubbish", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is damaged"):
            load_stock_checkpoint(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"rubbish")
    with pytest.raises(CheckpointError, match="or is damaged"):
        load_stock_checkpoint(path)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_stock_checkpoint(tmp_path / "none.pt")
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds a list"):
        load_stock_checkpoint(path)
