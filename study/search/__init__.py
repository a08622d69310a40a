"""Hyperparameter search: the only place that talks to Optuna."""
