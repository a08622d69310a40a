"""Numbers as people read them."""

from __future__ import annotations


def percent(mean: float | None, std: float | None = None, n: int | None = None) -> str:
    """A fraction in percent, rounded once, with its deviation and number of networks where they are known.

    Example:
        >>> percent(0.9312, 0.0081), percent(0.9312, 0.0081, 5), percent(None)
        ('93.1 ± 0.8 %', '93.1 ± 0.8 % (n = 5)', '-')
    """
    if mean is None:
        return "-"
    spread = "" if std is None else f" ± {100 * std:.1f}"
    count = "" if n is None else f" (n = {n})"
    return f"{100 * mean:.1f}{spread} %{count}"


def duration(seconds: float | None) -> str:
    """Seconds in the unit that reads best.

    Example:
        >>> duration(8.4), duration(754), duration(None)
        ('8 s', '13 min', '-')
    """
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def short(value: object) -> str:
    """A setting with at most three digits.

    Example:
        >>> short(0.51234), short(20), short("real")
        ('0.512', '20', 'real')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)
