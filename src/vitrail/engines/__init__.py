"""How a model is run: precision and layout, engines, and the Predictor that joins one with preprocessing and a task."""
