"""Whether the cache has room for all experts that a search may ask for, known before any of them is trained."""

from __future__ import annotations

import math

from study.core.errors import DataError
from study.methods.experts.store import ExpertStore, size_limit


def find_shortage(num_sets: int, set_bytes: int) -> str | None:
    """One line on what is too small for that many sets of experts, and the remedy; None where there is room.

    Raises DataError where the disk does not take a single one.
    """
    total, store = num_sets * set_bytes, ExpertStore()
    if not total:
        return None
    sets = f"{num_sets} sets of {_size(set_bytes)}, {_size(total)} in all" if num_sets > 1 else _size(total)
    capacity, elsewhere = store.capacity(), "set STUDY_CACHE to a folder on a larger disk"
    if set_bytes > capacity:
        raise DataError(
            f"the experts need {_size(set_bytes)}, but {store.root} can have {_size(capacity)}; {elsewhere}"
        )
    if total > capacity:
        return (
            f"experts may need {sets}, but {store.root} can have {_size(capacity)}: some would be removed and "
            f"trained again while the search runs; {elsewhere}"
        )
    if total > (limit := size_limit()):
        return (
            f"experts may need {sets}, more than the limit of {_size(limit)}: they are kept while the search runs "
            f"and removed after it; STUDY_CACHE_GB={math.ceil(total / 1e9)} keeps them"
        )
    return None


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 5e7 else f"{num_bytes / 1e6:.1f} MB"
