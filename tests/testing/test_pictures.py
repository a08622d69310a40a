from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from study.data import folder, mhist
from study.testing.pictures import NUM_FIGURES, paint, write_mhist, write_ragged

COUNTS = {"disc": 9, "stripes": 6, "checks": 5, "cross": 4}


def test_ragged_pictures_have_all_sizes_and_unbalanced_classes(tmp_path):
    root = write_ragged(tmp_path, COUNTS, smallest=10, largest=20)
    sizes = []
    for path in root.glob("train/*/*.png"):
        with Image.open(path) as picture:
            sizes.append(picture.size)
    assert len(sizes) == 24
    assert {side for size in sizes for side in size} <= set(range(10, 21))
    assert len(set(sizes)) > 12
    assert any(width != height for width, height in sizes)
    source = folder.load(root, 8)
    assert source.image_shape == (3, 8, 8)
    both = source.train.class_counts(4), source.test.class_counts(4)
    # Classes come in the alphabetical order of their folders.
    assert [sum(counts) for counts in zip(*both, strict=True)] == [5, 4, 9, 6]


def test_a_seed_gives_the_same_pictures_and_another_one_others(tmp_path):
    def pixels(name, seed):
        root = write_ragged(tmp_path / name, {"disc": 2, "cross": 2}, seed=seed)
        return [path.read_bytes() for path in sorted(root.rglob("*.png"))]

    assert pixels("a", 3) == pixels("b", 3)
    assert not set(pixels("c", 3)) & set(pixels("d", 4))


def test_more_classes_than_figures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="5 classes; there are figures for 4"):
        write_ragged(tmp_path, COUNTS | {"fifth": 1})


def test_every_figure_covers_a_part_of_the_picture_in_its_own_way():
    shares = []
    for label in range(NUM_FIGURES):
        figures = [paint(label, 60, 40, np.random.default_rng(seed)) for seed in range(9)]
        assert {figure.shape for figure in figures} == {(60, 40)}
        assert all(set(np.unique(figure)) == {0, 1} for figure in figures)
        assert len({figure.tobytes() for figure in figures}) == 9, "no two pictures are the same"
        shares.append(np.mean(figures))
    disc, stripes, checks, cross = shares
    assert disc == pytest.approx(np.pi * 0.06, abs=0.01)
    assert (stripes, checks) == (pytest.approx(0.5, abs=0.05),) * 2
    assert cross == pytest.approx(1 - 0.8**2, abs=0.01)


def test_the_owners_layout_has_a_third_of_ssa_with_the_votes_of_a_majority(tmp_path):
    source = mhist.load(write_mhist(tmp_path / "mhist", 24, 16).parent, None)
    assert (source.train.class_counts(2), source.test.class_counts(2)) == ([12, 6], [4, 2])
    assert source.image_shape == (3, 16, 16)
    assert bool(((source.train.votes >= 4) == (source.train.labels == 1)).all())


def test_contrast_makes_figures_fainter_and_leaves_the_noise(tmp_path):
    def picture(name, contrast):
        folder = write_mhist(tmp_path / name, 1, 40, contrast=contrast)
        with Image.open(folder / "images" / "MHIST_000.png") as image:
            return np.asarray(image).astype(float) / 255

    none, faint, full = (picture(str(contrast), contrast) for contrast in (0.0, 0.25, 1.0))
    inside = paint(0, 40, 40, np.random.default_rng(0)) == 1
    assert np.array_equal(faint[~inside], full[~inside])
    assert (faint - none)[inside].mean(0) == pytest.approx([0.075, 0.0875, 0.05], abs=0.005)
    assert (full - none)[inside].mean() > 3 * (faint - none)[inside].mean()
