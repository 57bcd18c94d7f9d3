"""The networks: from observations to a distribution over actions and a value."""
