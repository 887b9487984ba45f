"""Hyperparameters and presets, network architectures, losses and the optimizer."""
