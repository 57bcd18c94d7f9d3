"""CartPole-v1 without velocities by sb3-contrib's RecurrentPPO, whose critic has its own LSTM.

python -m benchmarks.peers.sb3_contrib
"""

import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from benchmarks.peers.masked_cartpole import LSTM_SIZE, MINIBATCH, cartpole_without_velocities
from benchmarks.peers.turns import ENVIRONMENTS, EPOCHS, FOREVER, STEPS, Turns


class Rounds(BaseCallback):  # type: ignore[misc]
    """Rests between rounds."""

    def __init__(self, turns: Turns, parameters: int) -> None:
        super().__init__()
        self._turns = turns
        self._parameters = parameters

    def _on_rollout_start(self) -> None:
        self._turns.between_rounds(parameters=self._parameters)

    def _on_step(self) -> bool:
        return True


def main() -> None:
    """Train until nobody asks for another round."""
    turns = Turns()
    torch.set_num_threads(1)
    model = RecurrentPPO(
        "MlpLstmPolicy",
        DummyVecEnv([cartpole_without_velocities] * ENVIRONMENTS),
        n_steps=STEPS,
        batch_size=MINIBATCH,
        n_epochs=EPOCHS,
        policy_kwargs={"lstm_hidden_size": LSTM_SIZE},
        device="cpu",
        seed=1,
    )
    turns.count_descents(model.policy.optimizer)
    parameters = sum(each.numel() for each in model.policy.parameters())
    model.learn(FOREVER, callback=Rounds(turns, parameters))


if __name__ == "__main__":
    main()
