"""Experiments, training, cross-validation and tuning."""
