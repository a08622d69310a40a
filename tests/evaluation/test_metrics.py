"""Metrics against scikit-learn, and which of them counts."""

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from study.core.records import ImageDataset
from study.evaluation.metrics import (
    accuracy,
    area_under_curve,
    balanced_accuracy,
    headline_metric,
    predict,
    score_logits,
)
from study.models.pool import ModelConfig, build_model


def _real(counts):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    names = tuple(str(label) for label in range(len(counts)))
    return ImageDataset(torch.zeros(len(labels), 1, 8, 8), labels, names)


def _logits(num_images, num_classes):
    return torch.randn(num_images, num_classes, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("counts", [[30, 30, 30], [50, 5, 20], [40, 0, 3]])
def test_accuracies_agree_with_scikit_learn(counts):
    real = _real(counts)
    logits = _logits(len(real), len(counts))
    if 0 in counts:
        logits[:, 1] = -9.0  # scikit-learn warns about predictions of a class that never occurs
    predicted = logits.argmax(1)
    assert accuracy(logits, real.labels) == pytest.approx(accuracy_score(real.labels, predicted))
    expected = balanced_accuracy_score(real.labels, predicted)
    assert balanced_accuracy(logits, real.labels) == pytest.approx(expected)


def test_area_under_curve_agrees_with_probabilities_in_scikit_learn():
    real, logits = _real([40, 12]), _logits(52, 2)
    expected = roc_auc_score(real.labels, logits.softmax(1)[:, 1])
    assert area_under_curve(logits, real.labels) == pytest.approx(expected)
    assert area_under_curve(logits[:40], real.labels[:40]) == 0.5


@pytest.mark.parametrize(
    ("counts", "metric"),
    [([10, 15], "accuracy"), ([10, 16], "balanced_accuracy"), ([10, 0, 12], "accuracy")],
)
def test_the_headline_follows_the_class_counts(counts, metric):
    assert headline_metric(_real(counts)) == metric


def test_two_unbalanced_classes_get_all_three_metrics():
    scores = score_logits(_logits(52, 2), _real([40, 12]))
    assert list(scores) == ["balanced_accuracy", "accuracy", "auc"]
    assert list(score_logits(_logits(30, 3), _real([10, 10, 10]))) == ["accuracy"]


def test_logits_that_are_not_numbers_score_chance_and_never_nan():
    logits = torch.full((40, 2), torch.nan)
    scores = score_logits(logits, _real([30, 10]))
    assert scores == {"balanced_accuracy": 0.5, "accuracy": 0.75, "auc": 0.5}


def test_prediction_in_chunks_is_prediction_at_once(compute):
    network = build_model(ModelConfig(width=4), (1, 64, 64), 3, torch.Generator().manual_seed(0)).eval()
    images = torch.randn(70, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        predict(network, images, compute), network(images).detach(), atol=1e-5, rtol=1e-4
    )
