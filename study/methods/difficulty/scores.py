"""How hard each training image is for young networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from study.core.chunks import Use, fitting
from study.core.config import Frozen
from study.core.digests import dataset_digest
from study.core.errors import ConfigError
from study.core.reporting import advance, work
from study.core.seeding import Generators
from study.data.cache import cached
from study.methods.base import Task, TaskSize
from study.models.flat_params import num_parameters
from study.models.network import Network
from study.models.pool import ModelConfig
from study.models.stack import NetworkStack
from study.models.work import Loads, work_of


class DifficultyConfig(Frozen):
    """Which score, from which young networks."""

    score: Literal["el2n", "grand", "loss", "forgetting"] = "el2n"
    """``el2n``: distance between softmax and one-hot label. ``grand``: norm of the loss gradient in all
    parameters. ``loss``: cross-entropy. ``forgetting``: how often a right answer turned wrong in training."""
    num_networks: int = Field(5, ge=1)
    """Fresh networks the score is averaged over."""
    num_epochs: int = Field(10, ge=1)
    """Epochs each is trained for, without augmentation."""
    max_steps: int | None = Field(None, ge=1)
    """Training ends sooner after this many steps: early is a matter of steps on a large set; None for never."""
    max_width: int | None = Field(None, ge=1)
    """The networks are those of the task, narrowed to at most this many channels; None for the task's own."""
    lr: float = Field(0.01, gt=0)
    """Learning rate, constant."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of SGD."""
    batch_size: int = Field(128, ge=1)
    """Training images a step."""

    def num_steps(self, num_images: int) -> int:
        """Training steps of each network on so many images."""
        steps = self.num_epochs * -(-num_images // self.batch_size)
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def narrowed(self, model: ModelConfig) -> ModelConfig:
        """The architecture that is trained for the one of a task."""
        if self.max_width is None or self.max_width >= (model.width or self.max_width + 1):
            return model
        return model.model_copy(update={"width": self.max_width})

    def loads(self, size: TaskSize) -> Loads:
        """Counted work of scoring every training image."""
        work, number = replace(size, model=self.narrowed(size.model)).work, self.num_networks
        training = work.training(self.batch_size, self.num_steps(size.num_images))
        return {"evaluation": training * number, "prediction": work.prediction(number * size.num_images)}


def difficulty_scores(task: Task, config: DifficultyConfig, generators: Generators) -> Tensor:
    """Score [n] float32 of every training image on the CPU, small for easy ones, kept in the cache folder.

    Scores of one call compare with each other only. They are means over ``num_networks`` networks, network i
    from ``generators.child("difficulty", i)``, after ``num_epochs`` epochs or ``max_steps`` steps:

    - ``el2n``: ||softmax(f(x)) - onehot(y)||, not squared, in [0, √2].
    - ``grand``: Euclidean norm of the gradient of the one image's cross-entropy in *all* parameters, exact,
      in float32; it takes some eight times as long.
    - ``loss``: cross-entropy, in nats.
    - ``forgetting``: how often in training the image was answered rightly when its batch came and wrongly
      the next time; one that was never right counts ``num_epochs``, more than any other can.

    Raises ConfigError where training diverges, or has less than two epochs for ``forgetting``.

    Source: Paul et al. 2021, "Deep Learning on a Data Diet" (EL2N, GraNd); Toneva et al. 2019 (forgetting).
    """

    def build() -> dict[str, Tensor]:
        return {"scores": _compute_scores(task, config, generators)}

    key = difficulty_key(task, config, generators)
    return cached(f"difficulty-{config.score}", key, build)[0]["scores"]


def difficulty_key(task: Task, config: DifficultyConfig, generators: Generators) -> Mapping[str, Any]:
    """Plain values that determine the scores: data, model, settings, seed, and how it is computed."""
    return {
        "data": dataset_digest(task.train),
        "model": task.model.model_dump(mode="json"),
        "difficulty": config.model_dump(mode="json"),
        "seed": generators.seed,
        "device": task.compute.device.type,
        "precision": str(task.compute.dtype).removeprefix("torch."),
    }


def _compute_scores(task: Task, config: DifficultyConfig, generators: Generators) -> Tensor:
    train = task.train
    num_steps = config.num_steps(len(train))
    if config.score == "forgetting" and num_steps * config.batch_size < 2 * len(train):
        raise ConfigError(
            f"difficulty.score = 'forgetting': {num_steps} steps of {config.batch_size} show {len(train)} images "
            "less than twice; raise difficulty.num_epochs and difficulty.max_steps"
        )
    network = _build_network(task, config)
    families = [generators.child("difficulty", index) for index in range(config.num_networks)]
    size = _stack_size(network, config)
    total = torch.zeros(len(train), dtype=torch.float64)
    with work("scoring how hard images are", len(families) * num_steps):
        for start in range(0, len(families), size):
            members = families[start : start + size]
            stack = NetworkStack(network, len(members))
            stack.reset([member["init"] for member in members])
            forgotten = _train(task, config, stack, members, num_steps)
            if config.score == "forgetting":
                total += forgotten.sum(dim=0).cpu().double()
                continue
            for index in range(len(members)):
                total += _measure(task, config, stack.member(index)).cpu().double()
    if not bool(total.isfinite().all()):
        raise ConfigError(f"difficulty.lr = {config.lr}: the networks diverged; use a smaller learning rate")
    return (total / config.num_networks).float()


def _build_network(task: Task, config: DifficultyConfig) -> Network:
    # A model without a stated width has the published one, which the cap may exceed (LeNet begins with 6).
    networks = [replace(task, model=model).network() for model in (task.model, config.narrowed(task.model))]
    return min(networks, key=num_parameters)


def _stack_size(network: Network, config: DifficultyConfig) -> int:
    """Networks to train as one: as many as keep a step small."""
    work, device = work_of(network), next(network.parameters()).device
    most = fitting("difficulty stacked", work.forward_flops * config.batch_size, device)
    return 1 if work.mixes_images else min(config.num_networks, most)


def _train(
    task: Task, config: DifficultyConfig, stack: NetworkStack, members: Sequence[Generators], num_steps: int
) -> Tensor:
    """Train a stack in place; gives forgetting counts [networks, n] float32 on the compute device."""
    train, compute = task.train, task.compute
    forgetting = _Forgetting(len(members), len(train), config.num_epochs, compute.device)
    optimizer = torch.optim.SGD(stack.parameters, lr=config.lr, momentum=config.momentum)
    for positions in _batches(len(train), config.batch_size, num_steps, members):
        chosen = positions.to(compute.device)
        targets = train.labels[chosen]
        with compute.autocast():
            logits = stack.forward(train.images[chosen])
        logits = logits.float()
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        optimizer.zero_grad()
        (loss / positions.shape[1]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        forgetting.count(chosen, logits.detach().argmax(dim=2) == targets)
        advance(len(members))
    return forgetting.scores()


def _batches(
    num_images: int, batch_size: int, num_steps: int, members: Sequence[Generators]
) -> Iterator[Tensor]:
    """Positions [networks, b] of every step; each network has its own order in every epoch."""
    done = 0
    while done < num_steps:
        orders = [
            torch.randperm(num_images, generator=member["batches"], device=member["batches"].device).cpu()
            for member in members
        ]
        for batch in torch.split(torch.stack(orders), batch_size, dim=1)[: num_steps - done]:
            yield batch
            done += 1


class _Forgetting:
    """Counts right answers that turned wrong, as batches come by."""

    def __init__(self, num_networks: int, num_images: int, num_epochs: int, device: torch.device) -> None:
        shape = (num_networks, num_images)
        self._events = torch.zeros(shape, device=device)
        self._was_right = torch.zeros(shape, dtype=torch.bool, device=device)
        self._ever_right = torch.zeros(shape, dtype=torch.bool, device=device)
        self._never = float(num_epochs)

    def count(self, positions: Tensor, right: Tensor) -> None:
        """Take in whether the networks were right on the images [networks, b] of a batch."""
        was_right = self._was_right.gather(1, positions)
        self._events.scatter_add_(1, positions, (was_right & ~right).float())
        self._was_right.scatter_(1, positions, right)
        self._ever_right.scatter_(1, positions, self._ever_right.gather(1, positions) | right)

    def scores(self) -> Tensor:
        return torch.where(self._ever_right, self._events, self._never)


def _measure(task: Task, config: DifficultyConfig, network: Network) -> Tensor:
    """Scores [n] float32 of one trained network in evaluation mode."""
    train = task.train
    use: Use = "difficulty gradients" if config.score == "grand" else "difficulty scores"
    height, width = train.image_shape[1:]
    chunk = fitting(use, height * width, task.compute.device)
    images, labels = torch.split(train.images, chunk), torch.split(train.labels, chunk)
    pieces = []
    for some_images, some_labels in zip(images, labels, strict=True):
        if config.score == "grand":
            pieces.append(_gradient_norms(network, some_images, some_labels))
            continue
        with torch.no_grad(), task.compute.autocast():
            logits = network(some_images)
        logits = logits.float()
        if config.score == "loss":
            pieces.append(functional.cross_entropy(logits, some_labels, reduction="none"))
        else:
            errors = logits.softmax(dim=1) - functional.one_hot(some_labels, train.num_classes)
            pieces.append(errors.norm(dim=1))
    return torch.cat(pieces)


def _gradient_norms(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Norm [n] of the cross-entropy's gradient in all parameters, one image at a time, float32."""
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def loss(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, parameters, (image[None],))
        return functional.cross_entropy(logits, label[None])

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, images, labels)
    squares = [gradient.flatten(1).square().sum(dim=1) for gradient in gradients.values()]
    return torch.stack(squares).sum(dim=0).sqrt()
