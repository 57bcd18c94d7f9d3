"""PPO's epochs over plain networks with gradients by hand, in numpy.

In a small network the calls of torch cost several times what their arithmetic does. The formulas
are those of `ppo_loss` and `policy`, against which every gradient here is tested.
"""
