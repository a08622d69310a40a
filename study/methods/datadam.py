"""DataDAM: make synthetic images draw the attention of random networks to where real ones draw it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from study.core.records import Progress
from study.core.seeding import Generators
from study.core.spaces import Choice, Range, Space
from study.methods.base import Method, MethodConfig, Task, TaskSize, register
from study.methods.hooks import BarFigure
from study.methods.matching.attention import (
    AttentionFeatures,
    AttentionLayers,
    attention_layer_names,
    normalised_weights,
)
from study.methods.matching.inner_training import InnerTraining
from study.methods.matching.losses import attention_matching_loss, distribution_matching_loss
from study.methods.matching.random_features import RandomFeatures
from study.methods.matching.synthetic_images import (
    ClassBatches,
    MatchingConfig,
    SyntheticImages,
    paired_means,
)
from study.models.pool import ModelConfig
from study.models.work import Loads

ATTENTION_COST = 1.6
"""Time of features and attention maps, in that of the features alone; measured on digits, MNIST and CIFAR-10."""


class DataDAMConfig(MatchingConfig):
    """Settings of DataDAM, the paper's; above 50 images a class its ``image_lr`` is 10."""

    num_iterations: int = Field(8_000, ge=0)
    batch_real: int = Field(64, ge=1)
    attention_power: float = Field(4.0, ge=1)
    """Exponent of the activations in the attention maps; the released code uses 1."""
    attention_layers: AttentionLayers = "all-but-last"
    """Layers whose maps are matched; the paper leaves the last one to the embedding."""
    layer_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Weight of attention layer ``1``, ``2``, ..., divided by their mean; those not named weigh 1."""
    output_weight: float = Field(0.01, ge=0)
    """Weight (lambda) of the distance between mean embeddings; 0.02 is published for large images."""
    loss_scale: float = Field(1.0, gt=0)
    """Factor on the whole loss, of which only the product with ``image_lr`` counts; the released code uses
    100. At 1 the images hardly move: see ``synthetic/relative_change``."""
    iterations_per_network: int = Field(1, ge=1)
    """T: how often a drawn network is used before the next is drawn."""
    image_steps: int = Field(1, ge=1)
    """zeta_S: updates of the images each time a network is used."""
    model_steps: int = Field(0, ge=0)
    """zeta_theta: updates of the network on a detached copy of the images between two of its uses."""
    model_lr: float = Field(0.01, gt=0)
    """eta_theta: learning rate of these updates."""
    batch_synthetic: int = Field(256, ge=1)
    """Images of one of these updates."""


@register
class DataDAM(Method[DataDAMConfig]):
    """Dataset distillation with attention matching.

    Each iteration compares class means of two things between real and synthetic images under the same
    augmentation: unit-length attention maps of the hidden layers, and the embedding. The network is random
    and new in every iteration, unless ``iterations_per_network`` and ``model_steps`` train it.

    Source: Sajedi et al. 2023, "DataDAM: Efficient Dataset Distillation with Attention Matching".
    """

    name: ClassVar[str] = "datadam"
    Config: ClassVar[type[MethodConfig]] = DataDAMConfig
    space: ClassVar[Space] = {
        # For a loss_scale of 100, as all recipes but the printed variants have it; only the product counts.
        "distill.image_lr": Range(low=0.01, high=10.0, log=True),
        "distill.output_weight": Range(low=1e-3, high=1.0, log=True),
        "distill.attention_power": Choice(choices=(1.0, 2.0, 4.0)),
        # One parameter a layer, equal in the middle; their mean is divided out.
        "distill.layer_weights.*": Range(low=0.1, high=10.0, log=True),
    }
    smoke: ClassVar[dict[str, int]] = {"num_iterations": 8, "batch_real": 16}

    def layer_weights(self, model: ModelConfig, image_shape: tuple[int, int, int]) -> dict[str, float]:
        """The weight of every attention layer as it enters the loss, with mean 1.

        Raises ConfigError where the network has no attention layer, or a weight belongs to none.
        """
        names = attention_layer_names(self.config.attention_layers, model, image_shape)
        return normalised_weights(self.config.layer_weights, names)

    def figures(self, task: Task, generators: Generators) -> Sequence[BarFigure]:
        """The layer weights as bars."""
        weights = self.layer_weights(task.model, task.train.image_shape)
        return [BarFigure("layer_weights", weights, "attention layer, first to last", "weight, mean 1", 1.0)]

    def iteration_loads(self, size: TaskSize) -> Loads:
        """A real batch and the set through one network, with attention maps, and the network's own training."""
        config, work = self.config, size.work
        features = work.features(size.num_drawn(config.batch_real), size.num_synthetic) * ATTENTION_COST
        steps = config.model_steps / config.image_steps
        training = work.training(min(config.batch_synthetic, size.num_synthetic), steps)
        return {"features": features, "evaluation": training}

    def distill(self, task: Task, generators: Generators) -> Iterator[Progress]:
        """Yield the starting point, then one progress an iteration.

        Losses: ``match/loss``, and its parts as they are, ``match/attention`` and ``match/output``.
        """
        config, weights = self.config, self.layer_weights(task.model, task.train.image_shape)
        synthetic = SyntheticImages(task, config, generators["init"])
        yield synthetic.progress(0)
        networks = _Networks(config, task, synthetic)
        real = ClassBatches(task.train, config.batch_real)
        networks.features.compile_for(config.num_iterations, len(real.labels), len(synthetic.labels))
        for iteration in range(1, config.num_iterations + 1):
            networks.advance(iteration - 1, generators)
            means, made = paired_means(task, networks.features, real, synthetic, generators)
            attention = attention_matching_loss(means[:-1], made[:-1], tuple(weights.values()))
            output = distribution_matching_loss(means[-1], made[-1])
            loss = config.loss_scale * (attention + config.output_weight * output)
            parts = {"match/loss": loss, "match/attention": attention, "match/output": output}
            yield synthetic.step(parts, iteration)


class _Networks:
    """The network of each iteration, drawn, trained or kept."""

    def __init__(self, config: DataDAMConfig, task: Task, synthetic: SyntheticImages) -> None:
        self.config, self.synthetic = config, synthetic
        self.features = RandomFeatures(
            task, AttentionFeatures(config.attention_power, config.attention_layers)
        )
        self.training = None
        if config.model_steps:
            self.training = InnerTraining(task, config.model_lr, config.batch_synthetic)

    def advance(self, index: int, generators: Generators) -> None:
        """Draw, train or keep the network before update ``index`` of the images."""
        config = self.config
        position = index % (config.iterations_per_network * config.image_steps)
        if self.training is None:
            if position == 0:
                self.features.redraw(generators["networks"])
            return
        if position == 0:
            self.training.redraw(generators["networks"])
        elif position % config.image_steps == 0:
            images, labels = self.synthetic.pixels.detach(), self.synthetic.labels
            self.training.train(images, labels, config.model_steps, generators["training"])
        else:
            return
        self.features.load(self.training.network)
