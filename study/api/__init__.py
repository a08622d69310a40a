"""The Python interface: everything the command line does, as typed functions.

Use it as ``study``: ``import study; study.tune("pad", "digits", ipc=1)``. Importing it loads neither torch nor
MLflow nor Optuna; a function loads what it needs when it is called.
"""
