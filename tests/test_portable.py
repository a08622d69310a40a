"""What POSIX alone offers is never needed to import the package or to count cores."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import importlib, os, pkgutil, sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None
if hasattr(os, "sched_getaffinity"):
    del os.sched_getaffinity
import study
for module in pkgutil.walk_packages(study.__path__, "study."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from study.core.device import num_cores, peak_memory
assert num_cores() >= 1
assert peak_memory() == 0
print("imported")
"""


def test_every_module_is_imported_without_fcntl_resource_and_affinity() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "imported\n"), done.stderr
