"""Tasks, which define what labels and outputs mean: one file each, with its metrics."""
