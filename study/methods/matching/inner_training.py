"""A network that is drawn at random and then trained on the synthetic images between two comparisons."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from study.data.augment import AugmentationConfig, augment, draw
from study.methods.base import Task
from study.models.instance_norm import replace_instance_norms


class InnerTraining:
    """Plain SGD on a copy of the synthetic images that no gradient flows back to.

    Memory: one float32 network and the activations of one batch. Time: three forward passes a step and image.

    Attributes:
        network: float32, differentiable to any order.
    """

    def __init__(
        self, task: Task, lr: float, batch_size: int, augmentation: AugmentationConfig | None = None
    ) -> None:
        """Build the network; parameters are drawn later.

        A step takes ``batch_size`` images, or all where there are fewer, under one operation of augmentation
        with parameters an image; by default under none.
        """
        self.network, self._program = task.network(), task.network()
        self._compute, self._lr, self._batch_size = task.compute, lr, batch_size
        self._augmentation = augmentation or AugmentationConfig()
        if task.compute.device.type == "cpu":
            # Training needs first derivatives only, for which there is a quicker instance norm.
            replace_instance_norms(self._program)
        # The same tensors, so that batch statistics gathered in training are those of the network.
        for mine, its in zip(self._program.modules(), self.network.modules(), strict=True):
            mine._buffers.update(its._buffers)
        self._program.requires_grad_(False)

    def redraw(self, generator: torch.Generator) -> None:
        """Give the network fresh random parameters."""
        self.network.reset_parameters(generator)
        self.network.train()

    def train(self, images: Tensor, labels: Tensor, num_steps: int, generator: torch.Generator) -> None:
        """Descend ``num_steps`` times along the cross-entropy of shuffled batches, pass after pass.

        Images are [n, C, H, W] float32 and detached, labels [n] int64; order and augmentation are drawn.
        """
        labels = labels.to(images.device)
        named = dict(self.network.named_parameters())
        order: tuple[Tensor, ...] = ()
        self._program.train()
        for _ in range(num_steps):
            if not order:
                shuffled = torch.randperm(len(images), generator=generator, device=generator.device)
                order = torch.split(shuffled.to(images.device), self._batch_size)
            chosen, order = order[0], order[1:]
            record = draw(
                self._augmentation, len(chosen), self.network.image_shape, generator, shared_op=True
            )
            gradients = self.gradients(augment(images[chosen], record), labels[chosen], exact=False)
            with torch.no_grad():
                for name, gradient in gradients.items():
                    named[name].sub_(gradient, alpha=self._lr)

    def gradients(
        self, images: Tensor, labels: Tensor, weights: Tensor | None = None, *, exact: bool = True
    ) -> dict[str, Tensor]:
        """Gradient of the mean cross-entropy by parameter name, float32, without a graph.

        ``weights`` [n], which sum to 1, weigh the images of the mean; by default all are alike.

        Forward passes are float32, or in the compute type of the task where they need not be ``exact``: on a network
        trained for 200 steps bfloat16 put the distance between gradients off by a seventh. Batch norm behaves as
        its mode says.
        """
        leaves = {
            name: parameter.detach().requires_grad_() for name, parameter in self.network.named_parameters()
        }
        images = images.to(memory_format=torch.channels_last)
        with torch.enable_grad(), nullcontext() if exact else self._compute.autocast():
            logits = functional_call(self._program, leaves, (images,))
        with torch.enable_grad():
            if weights is None:
                loss = functional.cross_entropy(logits.float(), labels)
            else:
                loss = weights @ functional.cross_entropy(logits.float(), labels, reduction="none")
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        return dict(zip(leaves, gradients, strict=True))

    def freeze_batch_statistics(self, images: Tensor) -> None:
        """Set the statistics of every batch norm to those of these images and use them from now on.

        Source: Zhao, Mopuri and Bilen 2021 (DC), whose code moves the running values by a tenth only.
        """
        norms = [
            module
            for network in (self.network, self._program)
            for module in network.modules()
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d)
        ]
        if not norms:
            return
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean of what is seen: one batch
        self.network.train()
        with torch.no_grad():
            self.network(images)
        self.network.eval()
        self._program.eval()
