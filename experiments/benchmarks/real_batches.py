"""How far the mean of a real batch is from its class's mean under random networks, by the rule of the batch.

Squared distances of mean embeddings, over those of as many random images: 0.5 is worth twice the batch. ``nearest``
are the images nearest to the centres, all of one weight: it is always the same batch, so its error never averages
out. The seconds are those of clustering every class, once.

    python experiments/benchmarks/real_batches.py --dataset mnist --sizes 16 64 --output figures.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from measuring import REPOSITORY, describe_machine
from torch import Tensor

from study.core.device import ComputeConfig, resolve_compute
from study.core.files import replace_file
from study.core.records import ImageDataset
from study.core.seeding import Generators
from study.data.splits import DataConfig, load_splits
from study.methods.matching.real_batches import ClassBatches, ClusterBatches
from study.models.pool import ModelConfig, build_model

NUM_DRAWS = 30


def class_mean_errors(
    dataset: ImageDataset, features: Tensor, batches: ClassBatches, source: Generators
) -> float:
    """Mean squared distance, over draws and classes, of batch means to class means of features [n, d]."""
    known = ImageDataset(
        torch.arange(len(dataset)).float().view(-1, 1, 1, 1), dataset.labels, dataset.class_names
    )
    wanted = torch.stack([features[positions].mean(0) for positions in dataset.class_indices()])
    batches._images = known.images  # positions in place of pixels, so that features are computed once
    drawn = [batches.draw(source["batches"]).flatten().long() for _ in range(NUM_DRAWS)]
    return statistics.mean(
        float((batches.averaging @ features[positions] - wanted).square().sum()) for positions in drawn
    )


def nearest_error(dataset: ImageDataset, features: Tensor, batches: ClusterBatches) -> float:
    """The same for the images nearest to the mean pixels of the clusters."""
    pixels, labels = dataset.images.flatten(1), batches.labels
    clusters = torch.split(batches._members, batches._sizes.tolist())
    nearest = torch.stack(
        [
            members[(pixels[members] - pixels[members].mean(0)).square().sum(1).argmin()]
            for members in clusters
        ]
    )
    return sum(
        float((features[nearest[labels == label]].mean(0) - features[positions].mean(0)).square().sum())
        for label, positions in enumerate(dataset.class_indices())
    )


def main() -> None:
    """Measure, print, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data-root", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64], help="real images a class")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--images", type=int, default=20_000, help="of the dataset, drawn at random, at most")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    compute = resolve_compute(ComputeConfig(device="cpu"))
    train = load_splits(arguments.dataset, DataConfig(), arguments.data_root).train
    train = train.subset(torch.randperm(len(train), generator=Generators(0)["images"])[: arguments.images])
    if max(arguments.sizes) >= min(train.class_counts()):
        parser.error(
            f"--sizes {max(arguments.sizes)}: the smallest class has {min(train.class_counts())} images"
        )
    networks = [
        build_model(
            ModelConfig(width=arguments.width), train.image_shape, train.num_classes, Generators(seed)["n"]
        )
        for seed in range(arguments.networks)
    ]
    with torch.no_grad():
        features = [
            torch.cat([network.embed(part) for part in train.images.split(256)]) for network in networks
        ]
    rows = {}
    for size in arguments.sizes:
        started = time.perf_counter()
        clustered = ClusterBatches(train, size, seed=0)
        seconds = time.perf_counter() - started
        shares: dict[str, list[float]] = {"k-means": [], "nearest": []}
        for seed, of_network in enumerate(features):
            random = class_mean_errors(train, of_network, ClassBatches(train, size), Generators(seed))
            shares["k-means"].append(
                class_mean_errors(train, of_network, clustered, Generators(seed)) / random
            )
            shares["nearest"].append(nearest_error(train, of_network, clustered) / random)
        rows[size] = {rule: statistics.mean(values) for rule, values in shares.items()} | {"seconds": seconds}
        print(
            f"{size:5} images a class",
            *(f"{key} {value:.2f}" for key, value in rows[size].items()),
            flush=True,
        )
    work = {"dataset": arguments.dataset, "images": len(train), "classes": train.num_classes,
            "width": arguments.width, "networks": arguments.networks}  # fmt: skip
    result = {"work": work, "error_over_random": rows, "machine": describe_machine(compute)}
    if arguments.output:
        with replace_file(arguments.output) as path:
            path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
