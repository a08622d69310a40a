"""From logits on real images to fractions: accuracy, balanced accuracy, area under the ROC curve."""

from __future__ import annotations

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from study.core.chunks import fitting
from study.core.device import Compute
from study.core.records import ImageDataset
from study.models.network import Network


@torch.inference_mode()
def predict(network: Network, images: Tensor, compute: Compute) -> Tensor:
    """Logits [n, classes] float32 of images [n, C, H, W], in chunks that fit the cache."""
    chunk = fitting("prediction", images.shape[2] * images.shape[3], compute.device)
    logits = []
    for some in images.split(chunk):  # type: ignore[no-untyped-call]
        with compute.autocast():
            logits.append(network(some).float())
    return torch.cat(logits)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Fraction of rows whose largest logit is at the label."""
    return float((logits.argmax(dim=1) == labels).double().mean())


def balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Mean over the classes that occur of the fraction of their images that is right."""
    right = (logits.argmax(dim=1) == labels).double()
    counts = torch.bincount(labels, minlength=logits.shape[1])
    hits = torch.bincount(labels, weights=right, minlength=logits.shape[1])
    occurs = counts > 0
    return float((hits[occurs] / counts[occurs]).mean())


def area_under_curve(logits: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve of class 1 against class 0; 0.5 where only one of them occurs.

    Args:
        logits: [n, 2]; rows that are not finite count as undecided.
        labels: [n] int64, 0 or 1.
    """
    if labels.min() == labels.max():
        return 0.5
    margin = (logits[:, 1] - logits[:, 0]).double().nan_to_num(nan=0.0)
    return float(roc_auc_score(labels.cpu().numpy(), margin.cpu().numpy()))


def headline_metric(real: ImageDataset) -> str:
    """Name of the metric that counts on these images: ``accuracy`` or ``balanced_accuracy``."""
    return "balanced_accuracy" if real.is_unbalanced else "accuracy"


def score_logits(logits: Tensor, real: ImageDataset) -> dict[str, float]:
    """Every metric that makes sense on these images, the headline first."""
    scores = {"accuracy": accuracy(logits, real.labels)}
    if real.is_unbalanced:
        scores = {"balanced_accuracy": balanced_accuracy(logits, real.labels), **scores}
    if real.num_classes == 2:
        scores["auc"] = area_under_curve(logits, real.labels)
    return scores
