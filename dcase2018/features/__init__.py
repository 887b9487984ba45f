"""Feature configs, log mel, the feature store and extraction."""
