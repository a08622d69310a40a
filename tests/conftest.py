from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[1]

# Compiled programs outlive the caches of tests, so that slow tests are slow once.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / "study-tests-compiled"))


@pytest.fixture(scope="module", autouse=True)
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of each module's own: no test sees the user's, nor what another module left behind."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_CACHE", str(folder))
        yield folder


@pytest.fixture
def cuda() -> Any:
    """A CUDA device; tests that take it are marked ``gpu``."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture
def set_room(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """``set_room(use, amount)`` changes what one chunk of that use may take, on every device."""
    from study.core.chunks import ROOMS, Room

    def change(use: str, amount: int) -> None:
        assert use in ROOMS
        monkeypatch.setitem(ROOMS, use, (Room(amount, ROOMS[use][0].least),) * 2)

    return change


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """A data root that holds MNIST."""
    candidates = [Path(os.environ.get("STUDY_DATA") or "data"), REPOSITORY.parent / "shared" / "data"]
    for root in candidates:
        if (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
            return root
    pytest.skip("no MNIST in STUDY_DATA or ../shared/data")


@pytest.fixture(scope="session")
def mhist_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root whose ``mhist`` holds 120 generated pictures of 224 x 224 in the owners' layout.

    90 of them are for training (60 HP, 30 SSA) and 30 for testing. Do not write into it.
    """
    from study.testing.pictures import write_mhist

    return write_mhist(tmp_path_factory.mktemp("data") / "mhist", 120, 224).parent


@pytest.fixture(scope="session")
def build_mhist() -> Callable[[Path, int, int], Path]:
    """``build_mhist(folder, num_images, size)`` makes a copy to break."""
    from study.testing.pictures import write_mhist

    return write_mhist


@pytest.fixture(scope="session")
def pneumonia_root() -> Path:
    """A data root that holds PneumoniaMNIST."""
    candidates = [Path(os.environ.get("STUDY_DATA") or "data"), REPOSITORY.parent / "shared" / "data"]
    for root in candidates:
        if (root / "medmnist" / "pneumoniamnist.npz").is_file():
            return root
    pytest.skip("no medmnist/pneumoniamnist.npz in STUDY_DATA or ../shared/data")


def build_medmnist_arrays(
    num_classes: int, channels: int, side: int = 28, num_train: int = 60
) -> dict[str, np.ndarray]:
    """Noise in the layout of a MedMNIST file; class 0 is brighter and has half of the images."""
    random = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", num_train), ("val", num_train // 2), ("test", num_train // 2)):
        labels = np.where(np.arange(count) % 2 == 0, 0, np.arange(count) // 2 % (num_classes - 1) + 1)
        size = (count, side, side) if channels == 1 else (count, side, side, channels)
        pixels = random.integers(0, 156, size) + 100 * (labels == 0).reshape(-1, *[1] * (len(size) - 1))
        arrays[f"{part}_images"] = pixels.astype(np.uint8)
        arrays[f"{part}_labels"] = labels[:, None].astype(np.uint8)
    return arrays


@pytest.fixture(scope="session")
def build_medmnist() -> Callable[..., Path]:
    """``build_medmnist(root, name, num_classes, channels)`` writes a generated file where a set is looked for.

    ``side`` and ``num_train`` size it; ``change`` is given the arrays before they are written.
    """

    def build(
        root: Path,
        name: str,
        num_classes: int,
        channels: int,
        *,
        change: Callable[[dict[str, np.ndarray]], object] | None = None,
        **sizes: int,
    ) -> Path:
        arrays = build_medmnist_arrays(num_classes, channels, **sizes)
        if change is not None:
            change(arrays)
        (root / "medmnist").mkdir(exist_ok=True)
        np.savez_compressed(root / "medmnist" / f"{name}.npz", **arrays)
        return root

    return build


@pytest.fixture
def build_folder() -> Callable[..., Path]:
    """``build_folder(root, {"train/cat": 5, "train/dog": 5})`` makes a folder dataset of coloured pictures."""

    def build(
        root: Path, counts: dict[str, int], size: tuple[int, int] = (12, 12), mode: str = "RGB"
    ) -> Path:
        random = np.random.default_rng(1)
        for place, count in counts.items():
            (root / place).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(root / place / f"{number}.png")
        return root

    return build


@pytest.fixture
def store_root(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of an MLflow store without a run."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "mlruns"
    root.mkdir()
    shutil.copyfile(empty_store, root / "mlflow.db")
    return root


@pytest.fixture
def memory_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opens ``memory://NAME`` as a tracker in memory, the same one for a name throughout a test."""
    from memory_tracker import opener

    from study.tracking import open as tracking

    monkeypatch.setattr(tracking, "MlflowTracker", opener(tracking.MlflowTracker))


@pytest.fixture
def memory_uri(memory_stores: None) -> str:
    """Address of an empty tracker in memory."""
    return "memory://store"


@pytest.fixture(scope="session")
def set_factory() -> Callable[..., Path]:
    """``set_factory(folder, ipc=1, soft=False, kind="standard", **manifest)`` writes a small set of digits."""
    import torch

    from study.core.records import SyntheticSet
    from study.data.preprocess import Preprocessing, fit_standard, fit_zca
    from study.sets.files import write_set
    from study.sets.manifest import Manifest

    def write(
        folder: Path, *, ipc: int = 1, soft: bool = False, kind: str = "standard", **known: object
    ) -> Path:
        generator = torch.Generator().manual_seed(ipc)
        pixels = torch.rand(10 * ipc, 1, 8, 8, generator=generator)
        labels = torch.arange(10).repeat_interleave(ipc)
        fits = {"standard": fit_standard, "zca": fit_zca}
        preprocessing = fits[kind](pixels) if kind in fits else Preprocessing("none", (1, 8, 8))
        logits = torch.randn(len(labels), 10, generator=generator) if soft else None
        names = tuple(str(digit) for digit in range(10))
        synthetic = SyntheticSet(
            preprocessing.apply(pixels), labels, names, logits, step_size=0.03 if soft else None
        )
        facts = {"name": f"digits-dm-ipc{ipc}", "dataset": "digits", "method": "dm", **known}
        write_set(folder, synthetic, Manifest.model_validate(facts), preprocessing)
        return folder

    return write


@pytest.fixture(scope="session")
def digits() -> Any:
    """Digits, split as by default."""
    from study.data.splits import DataConfig, load_splits

    return load_splits("digits", DataConfig())


@pytest.fixture(scope="session")
def small_model() -> Any:
    from study.models.pool import ModelConfig

    return ModelConfig(width=32)


@pytest.fixture(scope="session")
def compute() -> Any:
    """One plain CPU, nothing compiled."""
    import torch

    from study.core.device import Compute

    return Compute(torch.device("cpu"), torch.float32, "off")


@pytest.fixture(scope="session")
def evaluator(digits: Any, small_model: Any, compute: Any) -> Any:
    """An evaluator on validation: 20 steps, two seeds, root 0."""
    from study.core.seeding import Generators
    from study.evaluation.evaluator import Evaluator
    from study.evaluation.recipes import EvaluationConfig

    recipe = EvaluationConfig(num_steps=20, num_seeds=2)
    return Evaluator(
        digits.train, digits.validation, small_model, recipe, digits.augmentation, compute, Generators(0)
    )
