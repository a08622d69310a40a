"""Seeds: the same everywhere, independent by name."""

import subprocess
import sys

import torch

from study.core.seeding import Generators, derive_seed


def test_same_path_same_numbers_in_another_process():
    code = "from study.core.seeding import derive_seed; print(derive_seed(3, 'a', 1))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == derive_seed(3, "a", 1)


def test_paths_do_not_collide():
    seeds = {derive_seed(0, "a", 1), derive_seed(0, "a", "1"), derive_seed(0, "a/1"), derive_seed(1, "a", 1)}
    assert len(seeds) >= 3
    assert derive_seed(0, "a", 1) != derive_seed(0, "a", "1")


def test_a_new_consumer_shifts_nobody():
    alone, shared = Generators(5), Generators(5)
    torch.rand(9, generator=shared["other"])
    assert torch.equal(torch.rand(4, generator=alone["init"]), torch.rand(4, generator=shared["init"]))


def test_children_are_fresh_families():
    family = Generators(5)
    assert family.child("trial", 0).seed == Generators(5).child("trial", 0).seed
    assert family.child("trial", 0).seed != family.child("trial", 1).seed


def test_global_state_is_untouched():
    before = torch.get_rng_state()
    torch.rand(3, generator=Generators(0)["init"])
    assert torch.equal(before, torch.get_rng_state())
