"""Shared by translations of ML-Agents settings: the form of an option, and its numbers."""

from typing import Any, Final, TypeAlias

Translated: TypeAlias = tuple[str, Any, str]
"""(option of a policy, value, where it comes from)."""

OWN: Final = "as mlagents-learn does"

FINAL_LEARNING_RATE: Final = 1e-10
"""Of its linear schedules."""
