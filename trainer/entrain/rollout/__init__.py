"""Acting and collecting: a policy answers each batch, and its steps become rollouts."""

__all__: list[str] = []
