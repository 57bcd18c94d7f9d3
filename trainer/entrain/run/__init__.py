"""What stays on disk and what a person looks at: folder, checkpoints, metrics, report, display."""
