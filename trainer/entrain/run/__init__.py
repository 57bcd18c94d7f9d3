"""Files of a run and what people see of it: folder, checkpoints, metrics, report, display."""
