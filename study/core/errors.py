"""The errors a user can meet; each message gives the value, the rule and the choices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StudyError(Exception):
    """Anything the user can mend; the command line prints its one line and exits with 2.

    Example:
        >>> import study
        >>> try:
        ...     study.configure("dn")
        ... except study.StudyError as error:
        ...     print(str(error).split(".")[0])
        unknown method 'dn'
    """


class ConfigError(StudyError, ValueError):
    """A setting is unknown, of the wrong type or out of range.

    Example:
        >>> isinstance(ConfigError("ipc = 0: must be at least 1"), ValueError)
        True
    """


class UnknownNameError(ConfigError):
    """A method, dataset, model, budget or preset of that name does not exist.

    Example:
        >>> isinstance(unknown_name("method", "dn", ["dm", "dc"]), UnknownNameError)
        True
    """


class DataError(StudyError, ValueError):
    """A real dataset is on disk, but broken or unfit for the request.

    Example:
        >>> isinstance(DataError("class 3 has 2 images, asked are 10"), ValueError)
        True
    """


class MissingDataError(StudyError, FileNotFoundError):
    """A real dataset is not on disk; the message says how to get it.

    Example:
        >>> isinstance(MissingDataError("mhist is not in data"), FileNotFoundError)
        True
    """


class ShapeError(StudyError, ValueError):
    """A tensor has axes or sizes that the operation cannot take.

    Example:
        >>> isinstance(ShapeError("2 labels for 1 image"), ValueError)
        True
    """


class DivergedError(StudyError, ArithmeticError):
    """A loss or an image became infinite or not a number, or too large to come back.

    Example:
        >>> print(DivergedError("loss", iteration=3))
        loss is not finite at iteration 3; lower the image learning rate
    """

    def __init__(self, what: str, iteration: int | None = None, fault: str = "is not finite") -> None:
        """Keep the iteration, where there is one, so that a trial can be tagged with it."""
        when = "" if iteration is None else f" at iteration {iteration}"
        super().__init__(f"{what} {fault}{when}; lower the image learning rate")
        self.iteration = iteration


class UnknownSetError(StudyError, LookupError):
    """No synthetic set is registered or stored under that reference.

    Example:
        >>> isinstance(UnknownSetError("nothing is not a folder"), LookupError)
        True
    """


class CorruptSetError(StudyError, ValueError):
    """A synthetic-set folder is incomplete, altered, or from a newer version.

    Example:
        >>> isinstance(CorruptSetError("data.safetensors was changed"), ValueError)
        True
    """


class TrackingError(StudyError, RuntimeError):
    """The tracking store cannot be opened, or stopped answering.

    Example:
        >>> isinstance(TrackingError("there is no tracking store"), RuntimeError)
        True
    """


class SearchError(StudyError, RuntimeError):
    """A search cannot be opened, resumed or finished.

    Example:
        >>> isinstance(SearchError("no search is named 'mine'"), StudyError)
        True
    """


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not among the choices, with the nearest match first; ``kind`` is singular."""
    known = sorted(choices)
    if not known:
        return UnknownNameError(f"unknown {kind} {name!r}: there is none to choose from here")
    return UnknownNameError(f"unknown {kind} {name!r}.{suggestion(name, known)} Choices: {', '.join(known)}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """A sentence with the known name nearest to one that is not, after a space; empty if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
