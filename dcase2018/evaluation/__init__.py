"""Metrics, confidence intervals, calibration and comparisons."""
