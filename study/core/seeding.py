"""Named random generators grown from one root seed; nothing else in the package draws numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch


def derive_seed(root: int, *path: str | int) -> int:
    """Derive an independent 63-bit seed from a root seed and a path of names.

    The same path gives the same seed everywhere; different paths give unrelated seeds, so that a new consumer
    never shifts the numbers of another.
    """
    text = "/".join([str(root), *(f"{type(part).__name__}:{part}" for part in path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Generators:
    """A family of torch generators, one a name, each made on first use.

    Attributes:
        seed: the root seed of this family.
        device: where the generators live; numbers differ between device types, never between runs.
    """

    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _made: dict[str, torch.Generator] = field(default_factory=dict, repr=False, compare=False)

    def __getitem__(self, name: str) -> torch.Generator:
        """The generator of that name; its state advances with use."""
        if name not in self._made:
            self._made[name] = torch.Generator(self.device).manual_seed(derive_seed(self.seed, name))
        return self._made[name]

    def child(self, *path: str | int) -> Generators:
        """A fresh family whose numbers depend on this family's seed and the path alone."""
        return Generators(derive_seed(self.seed, "child", *path), self.device)
