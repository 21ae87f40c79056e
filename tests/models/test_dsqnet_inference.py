"""What DSQNet computes differently where no gradient is wanted."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rs_mm.models.utils.folding import foldable, folded
from rs_mm.models.utils.linear import map_linear

from .test_dsqnet_options import BACKBONES, small_model


@pytest.mark.parametrize('backbone', BACKBONES)
def test_with_and_without_gradients(backbone):
    model, inputs = small_model(backbone), torch.randn(2, 6, 72, 128)
    expected = model(inputs)
    with torch.no_grad():
        result = model(inputs)
    torch.testing.assert_close(result, expected.detach(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('grad', [True, False])
def test_autocast(backbone, grad):
    """Half precision runs in both ways and stays near single precision."""
    stages = small_model(backbone).backbone
    inputs = torch.randn(1, 3, 128, 128)
    with torch.set_grad_enabled(grad):
        expected = stages(inputs)
        with torch.autocast('cpu', torch.bfloat16):
            result = stages(inputs)
    for low, full in zip(result, expected):
        error = (low.float() - full).detach().square().mean() / full.detach().square().mean()
        assert error < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize('backbone', BACKBONES)
@torch.no_grad()
def test_compiled(backbone):
    stages = small_model(backbone).backbone
    inputs = torch.randn(1, 3, 128, 128)
    for result, expected in zip(torch.compile(stages, backend='eager')(inputs), stages(inputs)):
        torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('gelu', [False, True])
@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('size', [(1, 3), (16, 17)])
@torch.no_grad()
def test_map_linear(size, bias, gelu):
    layer, x = nn.Linear(12, 40, bias=bias), torch.randn(2, *size, 12)
    expected = F.gelu(layer(x)) if gelu else layer(x)
    torch.testing.assert_close(map_linear(layer, x, gelu), expected, atol=1e-5, rtol=1e-5)
    planes = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    torch.testing.assert_close(map_linear(layer, planes, gelu), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('bias', [False, True])
def test_folded_norm(bias):
    conv, norm = nn.Conv2d(6, 8, 3, bias=bias), nn.BatchNorm2d(8)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.normal_()
    norm.running_var.uniform_(0.5, 2)
    assert not foldable(norm)
    norm.eval()
    assert foldable(norm)
    x = torch.randn(2, 6, 9, 9)
    torch.testing.assert_close(
        F.conv2d(x, *folded(conv, norm)), norm(conv(x)), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    'norm',
    [
        nn.GroupNorm(2, 8),
        nn.BatchNorm2d(8, affine=False),
        nn.BatchNorm2d(8, track_running_stats=False),
    ],
)
def test_norms_that_do_not_fold(norm):
    assert not foldable(norm.eval())


def test_frozen_norms_in_training():
    """Norms kept in evaluation mode while the rest trains use their running statistics."""
    model, inputs = small_model('vitae'), torch.randn(1, 6, 64, 64)
    expected = model(inputs)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    torch.testing.assert_close(model(inputs), expected, atol=1e-4, rtol=1e-4)
