"""What is minimised: one file an objective, each with its frozen config for the recipe."""
