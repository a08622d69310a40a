from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.models.instance_norm import ChannelsLastInstanceNorm, replace_instance_norms
from study.models.pool import ModelConfig, build_model


def build_maps(dtype: torch.dtype, shape: tuple[int, ...] = (3, 6, 8, 4)) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    maps = 0.7 + 1.3 * torch.randn(shape, dtype=torch.float64, generator=generator)
    return maps.to(dtype, memory_format=torch.channels_last)


def build_norm(channels: int = 6) -> ChannelsLastInstanceNorm:
    norm = ChannelsLastInstanceNorm(channels, channels)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(channels, generator=generator))
        norm.bias.copy_(torch.randn(channels, generator=generator))
    return norm


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)]
)
def test_equals_the_norm_of_torch(dtype: torch.dtype, tolerance: float) -> None:
    norm, maps = build_norm(), build_maps(dtype)
    if dtype is torch.float64:
        norm.double()
    quick = norm(maps.clone(memory_format=torch.preserve_format).requires_grad_())
    assert quick.grad_fn is not None
    assert "InstanceNorm" in quick.grad_fn.name()
    exact = functional.group_norm(maps.double(), 6, norm.weight.double(), norm.bias.double(), norm.eps)
    assert quick.dtype is dtype
    assert torch.allclose(quick.double(), exact, atol=tolerance * exact.abs().max().item())


def test_gradients_of_maps_weight_and_bias() -> None:
    norm = build_norm().double()
    maps = build_maps(torch.float64, (2, 6, 2, 2)).requires_grad_()

    def forward(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (maps,))

    assert torch.autograd.gradcheck(forward, (maps, norm.weight, norm.bias))


def test_gradient_in_bfloat16_follows_float32() -> None:
    norm = build_norm()
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        maps = build_maps(dtype).requires_grad_()
        norm(maps).float().relu().square().sum().backward()
        assert maps.grad is not None
        grads.append(maps.grad.float())
    assert float((grads[0] - grads[1]).norm() / grads[0].norm()) < 2e-2


def test_other_layouts_keep_the_version_of_torch() -> None:
    norm, maps = build_norm(), build_maps(torch.float32).contiguous().requires_grad_()
    assert norm(maps).grad_fn.name() == "NativeGroupNormBackward0"


def test_only_instance_norms_are_replaced_and_keep_their_parameters() -> None:
    for kind, expected in (("instance", 2), ("group", 0), ("batch", 0)):
        config = ModelConfig(depth=2, width=8, norm=kind)  # type: ignore[arg-type]
        network = build_model(config, (1, 8, 8), 3, torch.Generator().manual_seed(0))
        before = dict(network.named_parameters())
        replace_instance_norms(network)
        quick = [module for module in network.modules() if isinstance(module, ChannelsLastInstanceNorm)]
        assert len(quick) == expected
        assert all(before[name] is parameter for name, parameter in network.named_parameters())


def test_a_norm_without_scale_stays() -> None:
    network = nn.Sequential(nn.GroupNorm(4, 4, affine=False))
    replace_instance_norms(network)
    assert type(network[0]) is nn.GroupNorm
