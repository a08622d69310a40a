"""Synthetic sets as folders: a manifest, tensors, a picture and a card, verified by hash."""

from study.core.packages import make_callable

make_callable(__name__, "study.api.storing")
