"""Names under which results are found: experiments, registered sets, runs."""

from __future__ import annotations

from study.data.datasets import find_dataset
from study.runs.config.configure import RunConfig


def experiment_name(config: RunConfig) -> str:
    """One experiment for each dataset and IPC, so that methods meet in one table."""
    return f"{config.dataset}-ipc{config.ipc}{_size(config)}"


def set_name(config: RunConfig) -> str:
    """Registry name of the sets a configuration makes, such as ``digits-dm-ipc1``."""
    return f"{config.dataset}-{config.method}-ipc{config.ipc}{_size(config)}"


def _size(config: RunConfig) -> str:
    # Scores at another resolution answer another question, so they get a name of their own.
    resolution = config.data.resolution
    native = find_dataset(config.dataset).resolution
    return f"-{resolution}px" if resolution is not None and resolution != native else ""
