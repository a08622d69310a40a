"""Devices: what is asked for is given, or refused by name."""

import pytest
import torch

from study.core.device import Compute, ComputeConfig, peak_memory, resolve_compute
from study.core.errors import ConfigError


def test_request_is_honoured():
    compute = resolve_compute(ComputeConfig(device="cpu", precision="bfloat16", compile="off"))
    assert (compute.device.type, compute.dtype) == ("cpu", torch.bfloat16)
    with compute.autocast():
        product = torch.ones(4, 4) @ torch.ones(4, 4)
    assert product.dtype is torch.bfloat16


def test_float32_stays_float32():
    with resolve_compute(ComputeConfig(device="cpu", precision="float32")).autocast():
        assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype is torch.float32


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "tpu"])
def test_absent_device_is_one_line(name):
    with pytest.raises(ConfigError, match=name):
        resolve_compute(ComputeConfig(device=name))


def test_compilation_is_weighed():
    cpu = torch.device("cpu")
    assert Compute(cpu, compile="on").should_compile(0.0)
    assert not Compute(cpu, compile="off").should_compile(1e9)
    assert not Compute(cpu, compile="auto").should_compile(1.0)


def test_the_peak_of_memory_is_in_bytes():
    kept = torch.ones(2**26)
    assert kept.nbytes < peak_memory() < 2**40
