"""A method in one file of another package: found by its entry point, and it keeps the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import study

TOY = Path(__file__).parent / "toy"
PACKAGES = os.pathsep.join([str(TOY), str(Path(study.__file__).parents[1])])


def python(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": PACKAGES}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


def test_it_is_found_by_name(tmp_path: Path) -> None:
    code = "from study.methods.base import find_method; print(find_method('toy').__module__)"
    found = python("-c", code, folder=tmp_path)
    assert (found.stdout.strip(), found.returncode) == ("toy_method", 0), found.stderr


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    options = ("-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", os.devnull)
    done = python("-m", "pytest", *options, str(TOY / "check_method.py"), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


def test_a_method_that_breaks_the_contract_is_told(tmp_path: Path) -> None:
    broken = (TOY / "toy_method.py").read_text().replace("images = images +", "images += 0 *")
    (tmp_path / "toy_method.py").write_text(broken)
    (tmp_path / "check_method.py").write_text((TOY / "check_method.py").read_text())
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", os.devnull, "-k", "moves")
    done = python("-m", "pytest", *options, str(tmp_path / "check_method.py"), folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_moves_every_image_or_selects_real_ones" in done.stdout


def test_an_entry_point_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    info = tmp_path / "broken-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text("[study.methods]\nlost = no_such_module:Lost\n")
    code = (
        "import sys; sys.path.append(sys.argv[1]); from study.cli.app import main; "
        "sys.argv = ['study', 'distill', '--method', 'dm', '--dataset', 'digits', '--budget', 'smoke']; main()"
    )
    done = python("-c", code, str(tmp_path), folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "method plug-in 'lost' (no_such_module:Lost) of broken cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr
