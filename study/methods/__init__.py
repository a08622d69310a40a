"""Distillation methods, found by name: mathematics only, driven by :mod:`study.runs`."""

from study.core.packages import make_callable

make_callable(__name__, "study.api.listing")
