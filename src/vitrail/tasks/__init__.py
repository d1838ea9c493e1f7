"""What labels and outputs mean: one file a task, with its metrics."""
