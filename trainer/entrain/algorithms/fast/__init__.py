"""Gradients by hand for plain networks: PPO's epochs in numpy, SAC's steps in torch's memory.

In a small network the calls of torch cost several times what their arithmetic does. The formulas
are those of `ppo_loss`, `sac` and `policy`, against which every gradient here is tested.
"""
