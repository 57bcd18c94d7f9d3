"""HalfCheetah-v5 by the SAC of Stable-Baselines3, or of SBX, which compiles each step by JAX.

Batches of 256, one gradient step for each env step, layers of 256: their defaults. Trains for
`--steps` after a warm-up, and prints env steps/s and processor time a step as JSON.

    python -m benchmarks.peers.soft --library sb3 --steps 2000
"""

import argparse
import importlib
import json
import sys
import time

import torch

LEARNING_STARTS = 1000
WARM_UP = 500
"""Gradient steps before the clock starts: what is compiled is compiled in them."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", choices=["sb3", "sbx"], required=True)
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    library = {"sb3": "stable_baselines3", "sbx": "sbx"}[arguments.library]
    # What they print must not be taken for the answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    model = importlib.import_module(library).SAC(
        "MlpPolicy",
        "HalfCheetah-v5",
        learning_starts=LEARNING_STARTS,
        batch_size=256,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": [256, 256]},
        seed=1,
        device="cpu",
    )
    model.learn(LEARNING_STARTS + WARM_UP)
    begun_s, processor_s = time.perf_counter(), time.process_time()
    model.learn(arguments.steps, reset_num_timesteps=False)
    seconds = time.perf_counter() - begun_s
    per_step_us = 1e6 * (time.process_time() - processor_s) / arguments.steps
    answer = {"rate": arguments.steps / seconds, "processor_us": per_step_us}
    print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
