"""Leakage: do synthetic images give real ones away? Nearest training images, near copies flagged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from study.core.chunks import fitting
from study.core.device import Compute
from study.core.errors import ConfigError, ShapeError
from study.core.records import ImageDataset, SyntheticSet
from study.core.seeding import Generators
from study.models.pool import ModelConfig, build_model
from study.protocols.base import Findings, Protocol, Session, register
from study.protocols.figures import MAX_PAIRS, draw_pairs

FEATURE_MODEL = ModelConfig(name="convnet", width=32)
"""Its random, untrained features are the second space: the same for every set, with no labels to lean on."""
SEED = 0
"""Of the feature network and the reference images: one for all sets, so that verdicts compare."""
NUM_REFERENCE = 2000
NUM_CANDIDATES = 4


@register
class Leakage(Protocol):
    """Distances of every synthetic image to the real training images; the closest pairs side by side."""

    name: ClassVar[str] = "leakage"
    about: ClassVar[str] = "near copies of real training images, side by side"
    trains: ClassVar[bool] = False

    def measure(self, session: Session) -> Findings:
        """One row a close pair; metrics count near and exact copies."""
        synthetic, train = session.synthetic, session.on_validation.train
        session.report(f"comparing {len(synthetic)} with {len(train)} real images")
        report = check_leakage(synthetic, train, session.on_validation.compute)
        ratios = torch.minimum(report.pixels.ratios, report.features.ratios)
        order = torch.argsort(ratios, stable=True)[:MAX_PAIRS].tolist()
        rows = [report.pair(synthetic, position) for position in order]
        plain = report.plain()
        invert = session.splits.preprocessing.invert
        figure = draw_pairs(
            invert(synthetic.images[order].cpu()),
            invert(train.images[report.pixels.nearest[order]].cpu()),
            [f"{row['class']}: {row['pixel_distance']:.2f}, {row['feature_distance']:.2f}" for row in rows],
            [bool(row["near_copy"]) for row in rows],
            f"{session.name}: synthetic | nearest real; class: distance in pixels (copy up to "
            f"{report.pixels.threshold:.2f}), in features (up to {report.features.threshold:.2f})",
        )
        notes = [
            f"{plain['num_near_copies']} of {plain['num_images']} images are near copies of training images, "
            f"{plain['num_exact_copies']} of them exact",
            f"near copy: no farther from a training image, in pixels or in features of a random network, than "
            f"{report.quantile:.0%} of training images lie from their nearest neighbour",
        ]
        metrics = {f"leakage/{name}": float(value) for name, value in plain.items()}
        return Findings(metrics, rows, figures={"leakage_pairs.png": figure}, notes=notes)


@dataclass(frozen=True, eq=False)
class SpaceDistances:
    """How near synthetic images come to real ones in one space, and how near real ones come to each other.

    Attributes:
        space: ``pixels`` (normalised) or ``features`` (of :data:`FEATURE_MODEL`, untrained).
        nearest: [n] int64, for each synthetic image the position of the nearest training image.
        distances: [n] float32, Euclidean distance to it; exactly 0 for an exact copy.
        reference: [m] float32, distances of real training images to their nearest other one.
        threshold: quantile of ``reference`` up to which a distance makes a near copy.
    """

    space: str
    nearest: Tensor
    distances: Tensor
    reference: Tensor
    threshold: float

    @property
    def near_copies(self) -> Tensor:
        """[n] bool: as near to a training image as hardly any training image is to another."""
        return self.distances <= self.threshold

    @property
    def ratios(self) -> Tensor:
        """[n] float32: distances over the threshold."""
        return self.distances / max(self.threshold, 1e-12)


@dataclass(frozen=True, eq=False)
class LeakageReport:
    """Both spaces together.

    A synthetic image is a near copy if it lies, in pixels or in features, no farther from a training image
    than ``quantile`` of the training images lie from their own nearest neighbour. By that rule about that
    share of fresh real images would be flagged in each space as well. Features see through a change of contrast
    or brightness, since the network has instance norm; copies that were rotated, mirrored, blended or clipped
    hard are not found.

    ``pixels`` are distances in normalised space, ``features`` those of a random network's features.
    """

    pixels: SpaceDistances
    features: SpaceDistances
    quantile: float

    @property
    def near_copies(self) -> Tensor:
        """[n] bool: near copies in either space."""
        return self.pixels.near_copies | self.features.near_copies

    def plain(self) -> dict[str, Any]:
        """Counts and distances as plain values, for metrics and manifests."""
        return {
            "num_images": len(self.pixels.distances),
            "num_near_copies": int(self.near_copies.sum()),
            "num_exact_copies": int((self.pixels.distances == 0).sum()),
            "num_near_in_pixels": int(self.pixels.near_copies.sum()),
            "num_near_in_features": int(self.features.near_copies.sum()),
            "quantile": self.quantile,
            "pixel_threshold": self.pixels.threshold,
            "feature_threshold": self.features.threshold,
            "smallest_pixel_distance": float(self.pixels.distances.min()),
            "smallest_feature_distance": float(self.features.distances.min()),
        }

    def pair(self, synthetic: SyntheticSet, position: int) -> dict[str, Any]:
        """One synthetic image beside its nearest real one, as a row of a table."""
        return {
            "image": position,
            "class": synthetic.class_names[int(synthetic.labels[position])],
            "near_copy": bool(self.near_copies[position]),
            "nearest_train": int(self.pixels.nearest[position]),
            "pixel_distance": float(self.pixels.distances[position]),
            "feature_distance": float(self.features.distances[position]),
        }


def check_leakage(
    synthetic: SyntheticSet,
    train: ImageDataset,
    compute: Compute,
    generators: Generators | None = None,
    *,
    quantile: float = 0.01,
    num_reference: int = NUM_REFERENCE,
) -> LeakageReport:
    """Compare every synthetic image with every real training image, both in the same normalised space.

    Args:
        synthetic: the set.
        train: every real image that the method saw.
        compute: device; distances are taken in float32 whatever its precision.
        generators: ``init`` draws the network, ``reference`` the real images of the comparison; by default the
            same for every set, so that a verdict is a property of the set.
        quantile: of the real-to-real distances, below which a distance makes a near copy.
        num_reference: real images whose nearest neighbour is looked for, among all.

    Raises:
        ConfigError: ``quantile`` or ``num_reference`` is out of range.
        ShapeError: the images differ in shape, or there are fewer than two real or no synthetic ones.
    """
    if not 0 < quantile < 1:
        raise ConfigError(f"quantile = {quantile:g}: must be above 0 and below 1")
    if num_reference < 1:
        raise ConfigError(f"num_reference = {num_reference}: must be at least 1")
    if len(train) < 2 or not len(synthetic) or synthetic.images.shape[1:] != train.images.shape[1:]:
        raise ShapeError(
            f"cannot compare {len(synthetic)} synthetic images of {tuple(synthetic.images.shape[1:])} with "
            f"{len(train)} real ones of {tuple(train.images.shape[1:])}"
        )
    generators = generators or Generators(SEED, compute.device)
    source = generators["reference"]
    order = torch.randperm(len(train), generator=source, device=source.device)
    chosen = order[:num_reference].to(compute.device)
    network = build_model(
        FEATURE_MODEL, train.image_shape, train.num_classes, generators["init"], compute.device
    ).eval()

    def embed(images: Tensor) -> Tensor:
        size = fitting("leakage pixels", images[0].numel(), images.device)
        with torch.inference_mode():
            return torch.cat([network.embed(some) for some in torch.split(images, size)]).float()

    made, real = synthetic.images.to(compute.device), train.images.to(compute.device)
    return LeakageReport(
        pixels=_compare("pixels", made.flatten(1), real.flatten(1), chosen, quantile),
        features=_compare("features", embed(made), embed(real), chosen, quantile),
        quantile=quantile,
    )


def _compare(space: str, made: Tensor, real: Tensor, chosen: Tensor, quantile: float) -> SpaceDistances:
    distances, nearest = nearest_real(made, real)
    reference, _ = nearest_real(real[chosen], real, exclude=chosen)
    threshold = float(torch.quantile(reference.double(), quantile))
    return SpaceDistances(space, nearest.cpu(), distances.cpu(), reference.cpu(), threshold)


@torch.no_grad()
def nearest_real(queries: Tensor, real: Tensor, *, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """For each query the distance to its nearest row of ``real``, and the position of that row.

    Candidates are found by inner products, whose rounding would hide a copy; their distances are then taken
    from differences, so that equal rows are at distance 0.

    Args:
        queries: [q, d] float32.
        real: [r, d] float32.
        exclude: [q] int64, a row that query i must not be matched with: itself; or None.

    Returns:
        Distances [q] float32 and positions [q] int64.

    Raises:
        ShapeError: no row is left to match with.
    """
    if len(real) < (1 if exclude is None else 2):
        raise ShapeError(f"{len(real)} real images leave none to compare with")
    centre = real.mean(0)
    best_values = queries.new_empty(len(queries), 0)
    best_rows = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    centred = queries - centre
    size = fitting("leakage pairs", max(1, len(queries)), real.device)
    for start in range(0, len(real), size):
        rows = real[start : start + size] - centre
        values = rows.square().sum(1) - 2 * centred @ rows.T
        if exclude is not None:
            here = (exclude >= start) & (exclude < start + len(rows))
            values[here, exclude[here] - start] = torch.inf
        found = values.topk(min(NUM_CANDIDATES, len(rows)), largest=False)
        best_values = torch.cat([best_values, found.values], 1)
        best_rows = torch.cat([best_rows, found.indices + start], 1)
        kept = best_values.topk(min(NUM_CANDIDATES, best_values.shape[1]), largest=False)
        best_values, best_rows = kept.values, best_rows.gather(1, kept.indices)
    exact = torch.stack([(queries - real[best_rows[:, k]]).norm(dim=1) for k in range(best_rows.shape[1])], 1)
    exact = exact.masked_fill(best_values.isinf(), torch.inf)
    distances, position = exact.min(1)
    return distances, best_rows.gather(1, position[:, None]).squeeze(1)
