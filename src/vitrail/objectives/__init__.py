"""Training objectives, one file each, with their frozen configs for the recipe."""
