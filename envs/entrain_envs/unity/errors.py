"""What is raised when an ML-Agents game sends something that cannot be understood."""

from entrain_envs.errors import WireError


class UnityMessageError(WireError):
    """A message of a game cannot be read, or its records contradict each other."""
