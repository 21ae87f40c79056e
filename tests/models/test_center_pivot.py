"""The layers of the correlation learner against plain definitions."""

import pytest
import torch
import torch.nn.functional as F

from rs_mm.models.heads.center_pivot import CenterPivotConv4d
from rs_mm.models.heads.channels_last_norm import GroupNormReLU
from rs_mm.models.heads.correlation_learner import CorrelationLearner


def _plain(layer, x):
    """Two convolutions around 6-D permutes, then torch's group norm; x is (B, C, q, q, s, s)."""
    b, c, hq, wq, hs, ws = x.shape
    step = layer.stride
    thin = x[..., ::step, ::step]
    hp, wp = thin.shape[-2:]
    y1 = layer.conv_query(thin.permute(0, 4, 5, 1, 2, 3).reshape(-1, c, hq, wq))
    y1 = y1.view(b, hp, wp, -1, hq, wq).permute(0, 3, 4, 5, 1, 2)
    y2 = layer.conv_support(x.permute(0, 2, 3, 1, 4, 5).reshape(-1, c, hs, ws))
    y2 = y2.view(b, hq, wq, -1, hp, wp).permute(0, 3, 1, 2, 4, 5)
    norm = layer.norm
    return F.relu(F.group_norm(y1 + y2, norm.num_groups, norm.weight, norm.bias, norm.eps))


@pytest.mark.parametrize('kernel, stride', [(3, 1), (3, 2), (5, 4)])
@pytest.mark.parametrize(
    'grid', [(6, 5, 9, 7), (4, 6, 2, 2), (5, 4, 1, 1), (3, 3, 1, 3), (3, 4, 4, 3)]
)
def test_equals_plain_definition(kernel, stride, grid):
    layer = CenterPivotConv4d(4, 8, kernel, stride).double()
    x = torch.randn(2, 4, *grid, dtype=torch.double, requires_grad=True)
    last = x.permute(0, 2, 3, 4, 5, 1).contiguous()
    ours = layer(last).permute(0, 5, 1, 2, 3, 4)
    expected = _plain(layer, x)
    assert ours.shape == expected.shape
    assert torch.allclose(ours, expected, atol=1e-10)
    seed = torch.randn_like(expected)
    names, values = zip(*layer.named_parameters())
    got = torch.autograd.grad(ours, (x, *values), seed, retain_graph=True)
    want = torch.autograd.grad(expected, (x, *values), seed)
    for name, g, w in zip(('x', *names), got, want):
        assert torch.allclose(g, w, atol=1e-8), name


def test_group_norm_relu_gradient():
    norm = GroupNormReLU(4, 8).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 3, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(norm, x)


def test_group_norm_relu_is_exact_for_many_positions():
    norm = GroupNormReLU(4, 16)
    x = torch.randn(1, 65536, 16) + 2
    expected = F.relu(F.group_norm(x.double().transpose(1, 2), 4)).transpose(1, 2)
    assert (norm(x) - expected).abs().max() < 1e-5


@pytest.mark.parametrize('size', [(64, 64), (96, 160), (416, 264)])
def test_learner_takes_any_size(size):
    torch.manual_seed(0)
    learner = CorrelationLearner((1, 2, 1), channels=(4, 8, 8))
    grids = [(-(-size[0] // s), -(-size[1] // s)) for s in (32, 16, 8)]
    correlations = [torch.rand(1, *grid, *grid, maps) for grid, maps in zip(grids, (1, 2, 1))]
    with torch.no_grad():
        out = learner(correlations)
    assert out.shape == (1, 2, 2 * grids[2][0], 2 * grids[2][1])
    assert out.isfinite().all()
