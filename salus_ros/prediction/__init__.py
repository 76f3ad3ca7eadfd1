"""The failure predictor."""
