"""A policy that remembers and sees: trained, evaluated, exported and trained on, as one would."""

import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from entrain.app import commands, sittings
from entrain.app.evaluation_options import EvaluationOptions
from entrain.config.load import load_config
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain_envs.spec import BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType
from live_run import simulators
from toy_environments import FREE, Floats, Toy

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

CONFIG = """
runs_directory: {folder}/runs
server: {{address: "unix:{folder}/s"}}
policies:
  toy:
    total_steps: 240
    network:
      hidden_sizes: [8]
      image_encoder: simple
      image_features: 8
      memory: {{kind: gru, size: 6, sequence_length: 4}}
    rollout_steps: 80
    algorithm: {{minibatch_size: 40, num_epochs: 1, learning_rate: 0.01}}
"""
EPISODE_STEPS = 5


class Slide(Toy):
    """A picture is shown at the first of five steps, then darkness; an action is its own reward.

    Agent i sees a bright column at 4 * i, in every episode.
    """

    def __init__(self, num_agents: int) -> None:
        super().__init__(FREE, num_agents=num_agents, observation_size=1)
        self.spec = BehaviourSpec("toy", (ObservationSpec("seen", (20, 20, 1)),), FREE)
        self._age = np.zeros(num_agents, np.int64)

    def seen(self) -> Floats:
        picture = np.zeros((self.num_agents, 20, 20, 1), np.float32)
        agents = np.flatnonzero(self._age == 0)
        picture[agents, :, 4 * agents] = 1.0
        return picture

    def begin(self, agents: npt.NDArray[np.bool_]) -> None:
        self._age[agents] = 0

    def act(self, actions: ActionBatch) -> tuple[Floats, npt.NDArray[np.uint8]]:
        self._age += 1
        ends = self._age == EPISODE_STEPS
        step_type = np.where(ends, StepType.TERMINATED, StepType.MID).astype(np.uint8)
        return actions.continuous[:, 0], step_type


@pytest.fixture(autouse=True)
def _no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of training: it takes longer than all the rest and has tests of its own."""
    monkeypatch.setattr(sittings, "write_results", lambda *_, **__: None)


def mean_return_of(policy: Path, num_agents: int) -> float:
    """What the exported policy earns in an episode, what it remembers being handed on."""
    session = onnxruntime.InferenceSession(policy, providers=["CPUExecutionProvider"])
    picture = Slide(num_agents).seen()
    state = np.zeros((num_agents, 6), np.float32)
    earned = 0.0
    for step in range(EPISODE_STEPS):
        inputs = {"seen": picture if step == 0 else np.zeros_like(picture), "state_in": state}
        action, state = session.run(["continuous_action", "state_out"], inputs)
        earned += float(action.mean())
    return earned


def test_a_policy_that_remembers_pictures_is_trained_evaluated_exported_and_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(CONFIG.format(folder=tmp_path))
    address = f"unix:{tmp_path}/s"
    folder = RunFolder(tmp_path / "runs" / "run")
    with simulators(address, {"trains": Slide(4)}):
        assert commands.train(load_config(path, [])) == 0

    capsys.readouterr()
    with simulators(address, {"shows": Slide(4)}):
        assert commands.evaluate(folder.path, [], EvaluationOptions(episodes=8)) == 0
    told = re.search(r"toy: return (\S+) .* over 8 episodes", capsys.readouterr().out)
    assert told is not None

    assert commands.export(folder.path, None) == 0
    assert mean_return_of(folder.policy("toy"), 4) == pytest.approx(float(told[1]), abs=0.011)

    stopped_at = CheckpointStore(folder.checkpoints, keep=3).load_newest().step
    with simulators(address, {"trains on": Slide(4)}):
        assert commands.resume(folder.path, [f"policies.toy.total_steps={stopped_at + 160}"]) == 0
    assert CheckpointStore(folder.checkpoints, keep=3).load_newest().step >= stopped_at + 160
