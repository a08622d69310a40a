from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from study.core.device import Compute
from study.core.errors import ConfigError
from study.methods.matching.random_features import RandomFeatures, averaging_matrix, embedding
from study.methods.matching.real_batches import ClassBatches
from study.models.pool import ModelConfig, Network, build_model

Factory = Callable[..., Any]
CPU = torch.device("cpu")


def layer_sums(network: Network, images: Tensor) -> tuple[Tensor, ...]:
    """Two layers, as attention matching would ask for."""
    return tuple(one.flatten(2).sum(1) for one in network.feature_maps(images))


def per_class_loop(task: Any, batch: Tensor, labels: Tensor, seed: int) -> Tensor:
    """Means one class after the other through an ordinary float32 network."""
    generator = torch.Generator().manual_seed(seed)
    network = build_model(task.model, task.train.image_shape, task.train.num_classes, generator)
    with torch.no_grad():
        return torch.stack([network.embed(batch[labels == label]).mean(0) for label in labels.unique()])


def drawn(task: Any, seed: int = 4) -> RandomFeatures:
    features = RandomFeatures(task)
    features.redraw(torch.Generator().manual_seed(seed))
    return features


@pytest.fixture
def batch(toy_task: Factory) -> tuple[Tensor, ClassBatches]:
    batches = ClassBatches(toy_task().train, 8)
    return batches.draw(torch.Generator().manual_seed(0)), batches


@pytest.mark.parametrize("chunk_size", [1, 7, 8, 24, 100])
def test_chunks_of_any_size_equal_a_loop_over_classes(
    chunk_size: int, toy_task: Factory, batch: tuple[Tensor, ClassBatches]
) -> None:
    images, batches = batch
    features = drawn(toy_task())
    features.chunk_size = chunk_size
    (means,) = features.class_means(images, batches.averaging)
    assert torch.allclose(means, per_class_loop(toy_task(), images, batches.labels, 4), atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "layer", "group", "instance"])
def test_norms_within_an_image_allow_one_pass_for_all_classes(
    norm: str, toy_task: Factory, batch: tuple[Tensor, ClassBatches]
) -> None:
    task = toy_task(model=ModelConfig(depth=2, width=8, norm=norm))  # type: ignore[arg-type]
    features = drawn(task)
    assert features.chunk_size is not None
    (means,) = features.class_means(batch[0], batch[1].averaging)
    assert torch.allclose(means, per_class_loop(task, batch[0], batch[1].labels, 4), atol=1e-5)


def test_batch_norm_sees_all_classes_in_one_chunk(
    toy_task: Factory, batch: tuple[Tensor, ClassBatches], set_room: Factory
) -> None:
    set_room("features", 1)
    task = toy_task(model=ModelConfig(depth=2, width=8, norm="batch"))
    features = drawn(task)
    assert features.chunk_size is None
    images, batches = batch
    (means,) = features.class_means(images, batches.averaging)
    network = build_model(task.model, (1, 8, 8), 3, torch.Generator().manual_seed(4))
    with torch.no_grad():
        mixture = batches.averaging @ network.embed(images)
    assert torch.allclose(means, mixture, atol=1e-5)
    assert not torch.allclose(means, per_class_loop(task, images, batches.labels, 4), atol=1e-2)


def test_bfloat16_follows_float32_and_gives_float32(
    toy_task: Factory, batch: tuple[Tensor, ClassBatches]
) -> None:
    exact, rounded = (
        drawn(toy_task(compute=Compute(CPU, dtype))).class_means(batch[0], batch[1].averaging)[0]
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert rounded.dtype is torch.float32
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).norm() / exact.norm()) < 1e-2


def test_several_layers_at_once(toy_task: Factory, batch: tuple[Tensor, ClassBatches]) -> None:
    features = RandomFeatures(toy_task(), layer_sums)
    features.redraw(torch.Generator().manual_seed(4))
    means = features.class_means(batch[0], batch[1].averaging)
    assert [tuple(one.shape) for one in means] == [(3, 64), (3, 16)]
    features.chunk_size = 5
    for whole, pieces in zip(means, features.class_means(batch[0], batch[1].averaging), strict=True):
        assert torch.allclose(whole, pieces, atol=1e-4)


def test_gradient_reaches_every_image_and_no_parameter(toy_task: Factory) -> None:
    features = drawn(toy_task())
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(3).repeat_interleave(2)
    (means,) = features.class_means(images, averaging_matrix(labels, 3))
    means.square().sum().backward()
    assert images.grad is not None
    assert (images.grad.flatten(1).norm(dim=1) > 0).all()
    parameters = list(features._network.parameters())
    assert parameters
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in parameters)


def test_redrawing_changes_the_network_as_the_generator_says(
    toy_task: Factory, batch: tuple[Tensor, ClassBatches]
) -> None:
    features, generator = RandomFeatures(toy_task()), torch.Generator().manual_seed(9)
    seen = []
    for _ in range(2):
        features.redraw(generator)
        seen.append(features.class_means(batch[0], batch[1].averaging)[0])
    assert not torch.allclose(seen[0], seen[1], atol=1e-3)
    features.redraw(generator.manual_seed(9))
    assert torch.equal(seen[0], features.class_means(batch[0], batch[1].averaging)[0])


def test_chunks_shrink_with_the_largest_activation(toy_task: Factory) -> None:
    narrow = RandomFeatures(toy_task(model=ModelConfig(depth=2, width=8))).chunk_size
    wide = RandomFeatures(toy_task(model=ModelConfig(depth=2, width=32))).chunk_size
    assert narrow is not None
    assert narrow == 4 * wide  # type: ignore[operator]


class TestCompilation:
    def test_short_runs_stay_plain(self, toy_task: Factory) -> None:
        features = RandomFeatures(toy_task(compute=Compute(CPU, compile="auto")))
        assert not features.compile_for(10, 24, 6)
        assert not RandomFeatures(toy_task(compute=Compute(CPU, compile="off"))).compile_for(10**9, 24, 6)

    def test_a_failing_compiler_leaves_plain_programs(
        self,
        toy_task: Factory,
        batch: tuple[Tensor, ClassBatches],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def broken(program: Any, **options: Any) -> Any:
            def fail(*args: Any) -> Any:
                raise RuntimeError("no headers\nand much more")

            return fail

        monkeypatch.setattr(torch, "compile", broken)
        monkeypatch.setattr("study.core.device.compiler_available", lambda device: True)
        features = RandomFeatures(toy_task(compute=Compute(CPU, compile="auto")))
        assert not features.compile_for(10**9, 24, 6)
        assert "compiling failed, going on without: no headers" in caplog.text
        features.redraw(torch.Generator().manual_seed(4))
        (means,) = features.class_means(batch[0], batch[1].averaging)
        assert torch.allclose(means, per_class_loop(toy_task(), batch[0], batch[1].labels, 4), atol=1e-5)
        demanded = RandomFeatures(toy_task(compute=Compute(CPU, compile="on")))
        with pytest.raises(ConfigError, match="compiling failed: no headers"):
            demanded.compile_for(1, 24, 6)

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")
    def test_compiled_programs_agree_and_are_shared(
        self, toy_task: Factory, batch: tuple[Tensor, ClassBatches]
    ) -> None:
        images, batches = batch
        task = toy_task(compute=Compute(CPU, torch.bfloat16, compile="on"))
        pixels = images[:6].clone().requires_grad_()
        weights = averaging_matrix(torch.arange(3).repeat_interleave(2), 3)
        results = []
        for compiled in (False, True, True):
            features = RandomFeatures(task, embedding)
            assert not compiled or features.compile_for(1, len(images), len(pixels))
            features.redraw(torch.Generator().manual_seed(4))
            with torch.no_grad():
                (real,) = features.class_means(images, batches.averaging)
            (synthetic,) = features.class_means(pixels, weights)
            (grad,) = torch.autograd.grad((real - synthetic).square().sum(), pixels)
            results.append((features, real, grad))
        plain, first, second = results
        assert float((plain[1] - first[1]).norm() / plain[1].norm()) < 1e-2
        assert float((plain[2] - first[2]).norm() / plain[2].norm()) < 5e-2
        assert torch.equal(first[1], second[1])
        assert torch.equal(first[2], second[2])
        assert first[0]._class_means is second[0]._class_means


def test_a_graph_that_is_too_large_is_built_again_to_the_same_bits(
    toy_task: Factory, set_room: Factory
) -> None:
    task = toy_task()
    pixels = task.train.images[:12].clone().requires_grad_()
    averaging = torch.eye(3).repeat_interleave(4, 1) / 4
    results = []
    for limit in (1 << 40, 0):
        set_room("features graph", limit)
        features = RandomFeatures(task)
        features.chunk_size = 4
        features.redraw(torch.Generator().manual_seed(0))
        (means,) = features.class_means(pixels, averaging)
        results.append((means.detach(), torch.autograd.grad(means.square().sum(), pixels)[0]))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("name", ["mlp", "lenet", "alexnet", "vgg11", "resnet18", "resnet18-ap", "vit"])
def test_every_network_of_the_pool_gives_features(name: str, toy_task: Factory) -> None:
    task = toy_task(model=ModelConfig(name=name))
    features = RandomFeatures(task)
    features.redraw(torch.Generator().manual_seed(0))
    pixels = task.train.images[:6].clone().requires_grad_()
    (means,) = features.class_means(pixels, torch.eye(3).repeat_interleave(2, 1) / 2)
    (grad,) = torch.autograd.grad(means.square().sum(), pixels)
    assert means.shape[0] == 3
    assert (grad.flatten(1).norm(dim=1) > 0).all()


@pytest.mark.gpu
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_on_cuda_are_those_on_the_cpu(
    norm: str, dtype: torch.dtype, toy_task: Factory, batch: tuple[Tensor, ClassBatches], cuda: torch.device
) -> None:
    images, averaging = batch[0], batch[1].averaging
    model = ModelConfig(depth=2, width=8, norm=norm)  # type: ignore[arg-type]
    here, there = (drawn(toy_task(model=model, compute=Compute(device, dtype))) for device in (CPU, cuda))
    # A whole GiB is open to a chunk there.
    assert norm == "batch" or there.chunk_size > here.chunk_size  # type: ignore[operator]
    (expected,) = here.class_means(images, averaging)
    (found,) = there.class_means(images.to(cuda), averaging.to(cuda))
    assert found.dtype is torch.float32
    assert float((found.cpu() - expected).norm() / expected.norm()) < 2e-2
