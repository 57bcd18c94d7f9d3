"""Acting and remembering: the policy runs on each batch, and its steps become rollouts."""

__all__: list[str] = []
