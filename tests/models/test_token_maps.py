"""Blocks of a vision transformer as maps of SCCNet."""

import pytest
import torch
from mmengine.registry import init_default_scope

from rs_mm.errors import ConfigError
from rs_mm.models.backbones import TokenMapBackbone
from rs_mm.registry import MODELS

SMALL = dict(depth=4, embed_dim=32, num_heads=2)


@pytest.mark.parametrize('arch', ['vit_small_patch14_reg4_dinov2', 'vit_small_patch16_dinov3'])
def test_sccnet_learns_from_tokens(arch):
    init_default_scope('rs_mm')
    model = MODELS.build(
        dict(
            type='FewShotSegmentor',
            data_preprocessor=dict(type='FewShotDataPreprocessor'),
            backbone=dict(
                type='TokenMapBackbone',
                arch=arch,
                blocks=[[0, 1], [2], [3]],
                frozen=False,
                timm_args=SMALL,
            ),
            head=dict(type='SelfCrossCorrelationHead', in_channels=(2, 1, 1)),
        )
    )
    data = model.data_preprocessor(model.example_inputs(1, 64, 64))
    sum(model(**data, mode='loss').values()).backward()
    grads = {name: p.grad for name, p in model.backbone.named_parameters()}
    assert all(grad is not None for name, grad in grads.items() if 'blocks' in name)
    sample = model.eval()(**data, mode='predict')[0]
    assert sample.pred_mask.shape == (64, 64)


@torch.no_grad()
def test_maps_are_the_blocks_of_timm():
    backbone = TokenMapBackbone(
        'vit_tiny_patch16_224', [[0], [1, 2], [3]], norm=False, timm_args=SMALL
    )
    images, taken = torch.randn(1, 3, 48, 80), {}
    for number, block in enumerate(backbone.net.blocks):
        block.register_forward_hook(lambda *call, n=number: taken.update({n: call[-1]}))
    groups = backbone(images)
    assert [len(group) for group in groups] == [1, 2, 1] == list(backbone.map_counts)
    for number, x in enumerate(x for group in groups for x in group):
        expected = taken[number][:, 1:].unflatten(1, (3, 5)).permute(0, 3, 1, 2)
        torch.testing.assert_close(x, expected)
    assert not groups[0][0].requires_grad


def test_default_groups_and_errors():
    assert TokenMapBackbone('vit_tiny_patch16_224').map_counts == (2, 2, 2)
    with pytest.raises(ConfigError, match='not a plain vision transformer'):
        TokenMapBackbone('resnet18')
    with pytest.raises(ConfigError, match='has the blocks 0 to 3'):
        TokenMapBackbone('vit_tiny_patch16_224', [[0], [1], [4]], timm_args=SMALL)
    with pytest.raises(ConfigError, match='must be three groups'):
        TokenMapBackbone('vit_tiny_patch16_224', [[0], [2, 1], [3]], timm_args=SMALL)
