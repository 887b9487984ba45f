"""Hyperparameters and presets, networks, losses and optimizer."""
