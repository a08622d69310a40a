"""Contract suites for plug-ins: subclass one in a test file and run pytest."""

from __future__ import annotations

import pytest

# Before the imports: pytest then explains a failed assert of these modules as it does one of a test file.
pytest.register_assert_rewrite("study.testing.datasets", "study.testing.methods", "study.testing.protocols")

from study.testing.datasets import DatasetContract  # noqa: E402
from study.testing.methods import MethodContract  # noqa: E402
from study.testing.protocols import ProtocolContract  # noqa: E402

__all__ = ["DatasetContract", "MethodContract", "ProtocolContract"]
