"""Distillation methods, found by name: mathematics only, driven by :mod:`study.runs`."""
