"""Training batches: every image once an epoch, labels with their images, seeds independent of each other."""

import pytest
import torch

from study.core.seeding import Generators
from study.data.augment import AugmentationConfig
from study.evaluation.batches import training_batches

PLAIN = AugmentationConfig()


def _set(num_images, size=8):
    images = torch.arange(num_images, dtype=torch.float32)[:, None, None, None].expand(-1, 1, size, size)
    return images.contiguous(), torch.arange(num_images)


def _seeds(count, root=0):
    return [Generators(root).child("evaluation", index) for index in range(count)]


def _batches(num_images, num_steps, batch_size, seeds, augmentation=PLAIN):
    images, targets = _set(num_images)
    return list(training_batches(images, targets, num_steps, batch_size, augmentation, seeds))


def test_a_small_set_is_taken_whole_and_shared():
    batches = _batches(6, 3, 256, _seeds(2))
    assert [tuple(images.shape) for images, _ in batches] == [(6, 1, 8, 8)] * 3
    assert all(torch.equal(targets, torch.arange(6).expand(2, 6)) for _, targets in batches)


def test_an_epoch_shows_every_image_once_and_every_seed_another_order():
    batches = _batches(10, 6, 4, _seeds(2))
    assert [targets.shape[1] for _, targets in batches] == [4, 4, 2, 4, 4, 2]
    epoch = torch.cat([targets for _, targets in batches[:3]], dim=1)
    assert torch.equal(epoch.sort(dim=1).values, torch.arange(10).expand(2, 10))
    assert not torch.equal(epoch[0], epoch[1])
    assert not torch.equal(epoch, torch.cat([targets for _, targets in batches[3:]], dim=1))
    for images, targets in batches:
        assert torch.equal(images[:, :, 0, 0, 0].long(), targets)


@pytest.mark.parametrize("batch_size", [4, 256])
@pytest.mark.parametrize("strategy", ["none", "color_crop_cutout_flip_scale_rotate"])
def test_a_seed_sees_the_same_alone_and_among_others(batch_size, strategy):
    augmentation = AugmentationConfig(strategy=strategy)
    together = _batches(10, 70, batch_size, _seeds(3), augmentation)
    alone = _batches(10, 70, batch_size, _seeds(3)[1:2], augmentation)
    for (images, targets), (own_images, own_targets) in zip(together, alone, strict=True):
        torch.testing.assert_close(images if images.ndim == 4 else images[1], own_images.view(-1, 1, 8, 8))
        assert torch.equal(targets[1], own_targets[0])


def test_augmentation_uses_one_operation_a_batch_and_own_parameters_an_image():
    images, targets = torch.ones(6, 1, 8, 8), torch.zeros(6, dtype=torch.int64)
    augmentation = AugmentationConfig(strategy="color_cutout")
    kinds = set()
    for batch, _ in training_batches(images, targets, 12, 256, augmentation, _seeds(1)):
        blanked = (batch[0] == 0).flatten(1).any(1)
        assert bool(blanked.all()) or not bool(blanked.any())
        kinds.add(bool(blanked.all()))
        assert len({tuple(image.flatten().tolist()) for image in batch[0]}) > 1
    assert kinds == {True, False}


def test_soft_targets_follow_their_images():
    images, targets = _set(10)
    soft = torch.nn.functional.one_hot(targets, 10).float()
    for some_images, some_targets in training_batches(images, soft, 3, 4, PLAIN, _seeds(2)):
        assert torch.equal(some_targets.argmax(2), some_images[..., 0, 0, 0].long())
