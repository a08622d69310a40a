"""Questions asked of a stored set, one file each: what it asks, how it measures, its table and its picture."""

from study.core.packages import make_callable

make_callable(__name__, "study.api.listing")
