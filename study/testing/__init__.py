"""Contract suites for plug-ins: subclass one in a test file and run pytest."""

from __future__ import annotations

import pytest

# Before the import: pytest then explains a failed assert of these modules as it does one of a test file.
pytest.register_assert_rewrite("study.testing.methods")

from study.testing.methods import MethodContract  # noqa: E402

__all__ = ["MethodContract"]
