"""Change detectors of any encoder and any head: what is filled in, and what is refused."""

import mmseg.models
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

from rs_mm.errors import ConfigError
from rs_mm.launch.config import load_config
from rs_mm.models.segmentors.head_widths import build_head
from rs_mm.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('rs_mm')


BN = dict(type='BN')
CE = dict(type='mmseg.CrossEntropyLoss')
STAGES = (0, 1, 2, 3)
HEADS = {
    'DSQNetHead': dict(
        channels=16, dsp=dict(type='DSP'), bmq=dict(type='BMQ'), num_classes=4, norm_cfg=BN
    ),
    'mmseg.UPerHead': dict(channels=8, num_classes=4, norm_cfg=BN),
    'mmseg.SegformerHead': dict(channels=8, num_classes=4, norm_cfg=BN),
    'mmseg.FCNHead': dict(channels=8, num_classes=4, norm_cfg=BN, num_convs=1),
    'UNetHead': dict(channels=8, num_classes=4, norm_cfg=BN),
}


def detector(
    backbone='convnext_atto',
    head='mmseg.UPerHead',
    policy='concat',
    bands=3,
    head_settings=None,
    **settings,
):
    encoder = dict(type='TimmEncoder', model=backbone, in_channels=bands, out_indices=STAGES)
    if 'vit' in backbone:
        encoder['timm_args'] = dict(depth=1)
    encoder.update(settings.pop('backbone_settings', {}))
    neck = policy and dict(type='FeatureFusionNeck', policy=policy)
    cfg = dict(
        type='SiamEncoderDecoder',
        data_preprocessor=dict(
            type='ChangeDataPreprocessor', mean=[0] * bands * 2, std=[1] * bands * 2
        ),
        backbone_inchannels=bands,
        backbone=encoder,
        neck=neck,
        decode_head={'type': head, 'loss_decode': CE, **HEADS[head], **(head_settings or {})},
        **settings,
    )
    return MODELS.build(ConfigDict(cfg))


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize(
    'backbone, bands',
    [('convnext_atto', 5), pytest.param('vit_tiny_patch16_224', 3, marks=pytest.mark.slow)],
)
def test_any_encoder_feeds_any_head(backbone, bands, head):
    model = detector(backbone, head, bands=bands)
    data = model.data_preprocessor(model.example_inputs(2, 64, 64), True)
    losses = model(**data, mode='loss')
    losses['decode.loss_ce'].backward()
    assert losses['decode.loss_ce'].isfinite()
    with torch.no_grad():
        result = model.eval()(**data, mode='predict')
    assert result[0].seg_logits.data.shape == (4, 64, 64)


@pytest.mark.parametrize('policy', ['abs_diff', 'concat'])
def test_widths_follow_the_fusion(policy):
    model = detector(policy=policy)
    times = 2 if policy == 'concat' else 1
    assert model.decode_head.in_channels == [times * w for w in (40, 80, 160, 320)]


def test_early_fusion():
    model = detector(
        head='UNetHead', policy=None, early_fusion=True, backbone_settings=dict(in_channels=6)
    )
    first = torch.randn(1, 6, 64, 64)
    assert model.extract_feat(first)[0].shape == (1, 40, 16, 16)
    with pytest.raises(ConfigError, match='has no `neck`'):
        detector(early_fusion=True)


def test_what_does_not_fit_is_said():
    with pytest.raises(ConfigError, match='set model.backbone.out_indices'):
        detector(backbone_settings=dict(out_indices=None))
    with pytest.raises(ConfigError, match=r'FeatureFusionNeck names stages .*it has 2'):
        detector(backbone_settings=dict(out_indices=(0, 1)))
    with pytest.raises(ConfigError, match=r'in_channels=\[1, 2, 3, 4\] does not fit.*\[80, 160'):
        detector(head_settings=dict(in_channels=[1, 2, 3, 4]))
    with pytest.raises(ConfigError, match=r'in_channels=\[80, 160, 320, 640\].*per date'):
        detector(head='DSQNetHead', head_settings=dict(in_channels=[80, 160, 320, 640]))
    with pytest.raises(ConfigError, match=r'in_index=\[0, 5\] names stages that are not there'):
        detector(head_settings=dict(in_index=[0, 5]))


def decayed(model, **paramwise):
    cls = OPTIM_WRAPPER_CONSTRUCTORS.get('LearningRateDecayOptimizerConstructor')
    wrapper = dict(optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1))
    optimizer = cls(wrapper, paramwise)(model).optimizer
    rates = {
        id(p): (g['lr'], g['weight_decay']) for g in optimizer.param_groups for p in g['params']
    }
    return {name: rates.get(id(p)) for name, p in model.named_parameters()}


def test_layer_wise_rates():
    model = detector('vit_tiny_patch16_224', backbone_settings=dict(timm_args=dict(depth=3)))
    rates = decayed(model, decay_rate=0.5)
    assert rates['decode_head.conv_seg.weight'] == (1.0, 0.1)
    assert rates['decode_head.conv_seg.bias'] == (1.0, 0.0)
    blocks = [rates[f'backbone.model.blocks.{i}.mlp.fc1.weight'][0] for i in range(3)]
    assert blocks[1] == 2 * blocks[0] and blocks[2] == 2 * blocks[1] <= 1.0
    assert rates['backbone.model.patch_embed.proj.weight'][0] == blocks[0] / 2
    assert rates['backbone.model.pos_embed'] == (blocks[0] / 2, 0.0)
    with pytest.raises(ConfigError, match='decay_rate must lie between 0 and 1'):
        decayed(model)


def test_layer_wise_rates_of_a_backbone_of_mmseg():
    beit = dict(type='mmseg.BEiT', img_size=(64, 64), embed_dims=16, num_layers=3, num_heads=2)
    head = dict(type='mmseg.FCNHead', in_channels=32, in_index=1, loss_decode=CE)
    model = MODELS.build(
        ConfigDict(
            type='SiamEncoderDecoder',
            backbone=dict(beit, out_indices=(1, 2)),
            neck=dict(type='FeatureFusionNeck', policy='concat', out_indices=(0, 1)),
            decode_head={**HEADS['mmseg.FCNHead'], **head},
        )
    )
    rates = decayed(model, decay_rate=0.5, decay_type='layer_wise_vit', num_layers=3)
    assert rates['decode_head.conv_seg.weight'] == (1.0, 0.1)
    assert rates['decode_head.conv_seg.bias'] == (1.0, 0.0)
    blocks = [rates[f'backbone.layers.{i}.ffn.layers.1.weight'][0] for i in range(3)]
    assert blocks == [1 / 8, 1 / 4, 1 / 2]
    assert rates['backbone.patch_embed.projection.weight'][0] == 1 / 16
    losses = model.loss(torch.randn(2, 6, 64, 64), model.example_inputs(2, 64, 64)['data_samples'])
    losses['decode.loss_ce'].backward()
    assert all(p.grad is not None for p in model.decode_head.parameters())


def test_frozen_encoder_has_no_group():
    model = detector(backbone_settings=dict(frozen=True))
    rates = decayed(model, decay_rate=0.5)
    assert rates['backbone.model.stem.0.weight'] is None


def test_published_widths_may_be_left_out():
    cfg = load_config('configs/DSQNet/DSQNet_swin_imp_512x512_80k_levircd_lr1e-4_bs8_wd0.01.py')
    model = dict(cfg.model, backbone=dict(cfg.model.backbone, init_cfg=None, depths=[1, 1, 1, 1]))
    given = model['decode_head'].pop('in_channels')
    assert MODELS.build(model).decode_head.in_channels == given


def test_a_head_of_mmseg_has_the_loss_of_mmseg_unless_it_names_one():
    for name in ('mmseg.FCNHead', 'UNetHead'):
        cfg = dict(type=name, **HEADS[name])
        loss = build_head(cfg, (4, 8), (8, 16)).loss_decode
        assert type(loss) is mmseg.models.CrossEntropyLoss and loss.loss_weight == 1
        cfg['loss_decode'] = dict(type='PixelFocalLoss')
        assert build_head(cfg, (4, 8), (8, 16)).loss_decode.loss_name == 'loss_focal'


@MODELS.register_module()
class FinestHead(BaseDecodeHead):
    """A head that says itself which stage it reads, as a user may write one."""

    def __init__(self, **kwargs):
        super().__init__(in_index=0, **kwargs)

    def forward(self, inputs):
        return self.cls_seg(self._transform_inputs(inputs))


def test_a_head_that_chooses_its_stage_itself():
    cfg = dict(type='FinestHead', channels=8, num_classes=2)
    with pytest.raises(TypeError, match='in_channels'):  # which of them, nobody knows
        build_head(cfg, (8, 16), (8, 16))
    assert build_head(dict(cfg, in_channels=8), (8, 16), (8, 16)).in_index == 0
