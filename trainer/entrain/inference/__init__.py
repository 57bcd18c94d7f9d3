"""Inference: the policy as the actor uses it, arrays in and arrays out."""
