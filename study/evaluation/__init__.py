"""Scoring a set: fresh networks trained on it, real images classified, baselines beside it."""
