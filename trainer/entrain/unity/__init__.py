"""What of ML-Agents belongs to a trainer: its wire as a front, and its settings."""
