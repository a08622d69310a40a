"""The tracking store and its registry; the only package that talks to MLflow."""
