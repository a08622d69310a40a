"""Which code and which platform made a result."""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import platform
import subprocess
from pathlib import Path

import study

_PATIENCE_SECONDS = 10.0


@functools.cache
def _cached() -> tuple[tuple[str, str], ...]:
    # Its metadata leaves out which build it is (+cpu, +cu132), which can change the last digits.
    import torch

    facts = {
        "study": study.__version__,
        "git_commit": git_commit(Path(study.__file__).parent),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(terse=True),
    }
    return tuple((key, value) for key, value in facts.items() if value)


def provenance() -> dict[str, str]:
    """Versions of study, python and torch, the platform, and the commit of the code.

    Read once a process: code that is edited while it runs is not the code that runs. Outside a
    repository ``git_commit`` is left out.
    """
    return dict(_cached())


def git_commit(package: Path) -> str:
    """Commit (40 hex digits) of the repository that tracks a package, with ``-dirty`` where its folder differs.

    Empty where git is missing, or the package is installed inside a repository that does not track it.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return ""
    commit, changes = _git(package, "rev-parse", "HEAD"), _git(package, "status", "--porcelain", "--", ".")
    if commit is None or changes is None:
        return ""
    return f"{commit}-dirty" if changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    # A lock taken here could get in the way of the user's own git.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        finished = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=_PATIENCE_SECONDS, env=environment, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout.strip() if finished.returncode == 0 else None


def user_name() -> str:
    """Who runs this; empty where the user has no name, as in some containers."""
    with contextlib.suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""
