"""Contract suites for those who add a dataset of their own: subclass one in a test module."""

from study.testing.datasets import DatasetContract

__all__ = ["DatasetContract"]
