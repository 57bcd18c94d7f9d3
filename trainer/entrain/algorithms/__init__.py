"""How a policy learns from rollouts: advantages, losses, minibatches, and PPO made of them."""
