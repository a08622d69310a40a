"""How much memory one student step takes, counted and not measured, and how many images fit into a limit."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from study.core.chunks import equal_pieces, fitting
from study.core.errors import ConfigError
from study.methods.trajectories.student import step_adjoint
from study.models.flat_params import num_parameters
from study.models.network import Network, mixes_images
from study.models.work import work_of


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that are alive among those made inside the context, views not counted.

    Attributes:
        now: bytes alive.
        peak: largest value of ``now`` so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operation and count what is new in its result."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def bytes_of_step(network: Network, image_shape: tuple[int, int, int], num_images: int) -> int:
    """Peak bytes of the backward half of a student step on that many images, counted without computing."""
    shapes = copy.deepcopy(network).to("meta")
    dtype = next(shapes.parameters()).dtype
    with torch.device("meta"), (live := LiveBytes()):
        flat = torch.empty(num_parameters(shapes), dtype=dtype)
        pixels = torch.empty(num_images, *image_shape, dtype=dtype)
        targets = torch.empty(num_images, network.num_classes, dtype=dtype)
        step_adjoint(shapes, flat, flat, pixels, targets)
    return live.peak


def fitting_chunk(
    network: Network, image_shape: tuple[int, int, int], batch_size: int, max_bytes: int
) -> int | None:
    """Largest equal chunks of a student step that stay within ``max_bytes`` and, on a CPU, allocate quickly.

    The synthetic set and stored parameters are not counted. None where the whole step fits. Raises
    ConfigError where not even one image fits, or a step with batch norm, which has to stay whole, does not.
    """
    most, whole = batch_size, mixes_images(network)
    if bytes_of_step(network, image_shape, batch_size) > max_bytes:
        one, two = (bytes_of_step(network, image_shape, num_images) for num_images in (1, 2))
        if whole or one > max_bytes:
            what = "a whole step, as batch norm demands," if whole else "one image"
            raise ConfigError(
                f"{what} does not fit into {max_bytes / 2**20:.0f} MiB; use a smaller network or resolution"
            )
        most = min(most, 1 + (max_bytes - one) // max(two - one, 1))
    if not whole:
        parameter = next(network.parameters())
        largest = work_of(network).largest_map * parameter.element_size()
        most = min(most, fitting("student", largest, parameter.device))
    return equal_pieces(batch_size, most)
