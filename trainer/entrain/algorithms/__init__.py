"""Learning from rollouts: advantages, losses, minibatches, and PPO, which combines them."""
