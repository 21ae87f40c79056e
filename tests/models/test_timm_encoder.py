"""Networks of timm as encoders: their maps, sizes, bands, stages and weights."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from rs_mm.errors import CheckpointError, ConfigError
from rs_mm.models.backbones.timm_encoder import TimmEncoder
from rs_mm.registry import MODELS
from rs_mm.structures import EmbeddingDataSample

# one network per way of making maps, as small as its family allows
SMALL = {
    'convnext_atto': {},
    'vit_tiny_patch16_224': dict(depth=2),
    'vit_small_patch14_dinov2': dict(depth=2),
    'vit_small_patch14_reg4_dinov2': dict(depth=2),
    'vit_small_patch16_dinov3': dict(depth=2),
    'eva02_tiny_patch14_224': dict(depth=2),
    'swin_s3_tiny_224': dict(depths=(1, 1, 1, 1)),
    'swinv2_tiny_window8_256': dict(depths=(1, 1, 1, 1)),
    'maxvit_tiny_tf_224': dict(depths=(1, 1, 1, 1)),
    'mambaout_femto': {},
    'pvt_v2_b0': {},
}
QUICK = (
    'convnext_atto',
    'vit_small_patch14_reg4_dinov2',
    'eva02_tiny_patch14_224',
    'mambaout_femto',
)
EVERY_SIZE = [
    pytest.param(
        name,
        size,
        bands,
        marks=() if (size, bands) == (64, 10) and name in QUICK else pytest.mark.slow,
    )
    for name in SMALL
    for size in (64, 96, 224)
    for bands in (3, 10)
]


def labels(count=2, classes=5):
    return [
        EmbeddingDataSample(metainfo=dict(sample_idx=i)).set_gt_label(torch.eye(classes)[i])
        for i in range(count)
    ]


def embedder(name, bands, head, losses):
    encoder = dict(type='TimmEncoder', model=name, in_channels=bands, timm_args=SMALL[name])
    return MODELS.build(dict(type='ImageEmbedder', encoder=encoder, head=head, losses=losses))


@pytest.mark.parametrize('name, size, bands', EVERY_SIZE)
def test_embedders_learn(name, size, bands):
    grn = dict(type='GRNHead', embed_dims=8, num_classes=5)
    model = embedder(name, bands, grn, [dict(type='MultiLabelBCELoss')])
    oml = MODELS.build(
        dict(type='EmbeddingHead', in_channels=model.encoder.out_channels, num_classes=5)
    )
    images = torch.randn(2, bands, size, size)
    model(images, labels(), mode='loss')['loss_bce'].backward()
    assert all(p.grad is not None for p in model.parameters())  # or DDP would wait for them
    model.zero_grad()
    model.head = oml
    model(images, labels(), mode='loss')['loss_bce'].backward()
    assert all(p.grad is not None for p in model.encoder.parameters())


@pytest.mark.parametrize('name', ['vit_tiny_patch16_224', 'swin_s3_tiny_224'])
@torch.no_grad()
def test_maps_are_the_tokens_of_timm(name):
    encoder = TimmEncoder(name, timm_args=SMALL[name]).eval()
    images = torch.randn(1, 3, 64, 96)
    tokens = encoder.model.forward_features(images)
    if tokens.dim() == 3:
        tokens = tokens[:, 1:].unflatten(1, (4, 6))
    torch.testing.assert_close(encoder(images), tokens.permute(0, 3, 1, 2))


@pytest.mark.slow
@torch.no_grad()
def test_network_of_one_size_pads_and_cuts():
    encoder = TimmEncoder('maxvit_tiny_tf_224', timm_args=SMALL['maxvit_tiny_tf_224']).eval()
    images = torch.randn(1, 3, 64, 96)
    padded = torch.zeros(1, 3, 224, 224)
    padded[..., :64, :96] = images
    torch.testing.assert_close(encoder(images), encoder(padded)[..., :2, :3])
    built = TimmEncoder('maxvit_tiny_tf_224', img_size=64, timm_args=SMALL['maxvit_tiny_tf_224'])
    assert built.eval().canvas((64, 64)) == (64, 64)


@pytest.mark.parametrize('name', ['convnext_atto', 'vit_tiny_patch16_224', 'swin_s3_tiny_224'])
def test_four_stages(name):
    args = SMALL.get(name)
    encoder = TimmEncoder(name, out_indices=(0, 1, 2, 3), timm_args=args, pyramid_channels=32)
    maps = encoder(torch.randn(2, 3, 64, 96))
    assert [tuple(x.shape[2:]) for x in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert tuple(x.shape[1] for x in maps) == encoder.out_channels
    sum(x.mean() for x in maps).backward()
    assert all(p.grad is not None for p in encoder.parameters())
    first = TimmEncoder(name, out_indices=(3, 0), timm_args=args, pyramid_channels=32)
    assert first.out_channels == (encoder.out_channels[3], encoder.out_channels[0])


def test_frozen():
    encoder = TimmEncoder('resnet18', frozen=True).train()
    before = encoder.model.bn1.running_mean.clone()
    assert not encoder(torch.randn(2, 3, 32, 32)).requires_grad
    assert torch.equal(before, encoder.model.bn1.running_mean)


def test_patch_embedding_for_more_bands_and_another_size(tmp_path):
    args = SMALL['vit_tiny_patch16_224']
    source = timm.create_model('vit_tiny_patch16_224', num_classes=7, **args)
    save_file(source.state_dict(), tmp_path / 'vit.safetensors')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.safetensors'))
    encoder = TimmEncoder(
        'vit_tiny_patch16_224', in_channels=10, img_size=64, timm_args=args, init_cfg=init
    )
    encoder.init_weights()
    own, given = encoder.model.patch_embed.proj.weight, source.patch_embed.proj.weight
    assert torch.equal(own[:, :3], given)
    torch.testing.assert_close(own[:, 9], given.mean(1))
    assert encoder.model.pos_embed.shape == (1, 17, 192)  # 4 x 4 places from 14 x 14
    assert torch.equal(encoder.model.blocks[1].mlp.fc2.weight, source.blocks[1].mlp.fc2.weight)
    other = TimmEncoder('vit_small_patch16_224', timm_args=args, init_cfg=init)
    with pytest.raises(CheckpointError, match='vit_small_patch16_224 needs'):
        other.init_weights()


def test_what_cannot_work_is_one_sentence():
    with pytest.raises(ConfigError, match='inception_v3 cannot take images of 64 x 64'):
        TimmEncoder('inception_v3', frozen=True)(torch.randn(1, 3, 64, 64))
    with pytest.raises(ConfigError, match=r'has 3 stages of strides \[16, 32, 64\]'):
        TimmEncoder('levit_128s', out_indices=(0, 1, 2, 3))
    fixed = TimmEncoder('levit_128s')
    with pytest.raises(ConfigError, match=r'built for 224 x 224; set encoder.img_size=256'):
        fixed(torch.randn(1, 3, 256, 256))
    for name in ('resnet18x', 'resnet18.a1_in1k'):
        with pytest.raises(ConfigError, match="is not a model of timm; did you mean 'resnet18'"):
            TimmEncoder(name)
    with pytest.raises(ConfigError, match=r"init_cfg=\['timm'\] of TimmEncoder is not understood"):
        TimmEncoder('resnet18', init_cfg=['timm']).init_weights()
    with pytest.raises(ConfigError, match='does not take .*output_stride'):
        TimmEncoder('vit_tiny_patch16_224', output_stride=16)
    with pytest.raises(ConfigError, match='leave out model.encoder.out_indices'):
        MODELS.build(
            dict(
                type='ImageEmbedder',
                encoder=dict(type='TimmEncoder', model='resnet18', out_indices=(0, 1)),
                head=dict(type='GRNHead'),
            )
        )
