"""Running a model: precision and layout, engines, and the Predictor (engine + preprocessing + task)."""
