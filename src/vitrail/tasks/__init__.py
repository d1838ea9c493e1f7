"""Tasks, which interpret labels and outputs: one file each, with its metrics."""
