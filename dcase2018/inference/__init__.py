"""Scores of clips, from a store or an audio file, and of windows over time."""
