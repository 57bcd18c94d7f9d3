"""Who takes part, and waiting timesteps merged into batches by slot. Speaks no wire."""
