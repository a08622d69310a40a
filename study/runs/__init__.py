"""Whole runs: wires methods, evaluation, search, tracking and sets; one readable page each."""
