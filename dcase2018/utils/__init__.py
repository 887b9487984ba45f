"""Shared helpers: errors, settings, atomic files, progress, signals and parallel work."""
