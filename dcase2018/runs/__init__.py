"""The run folder: settings, checkpoints, history and trained model."""
