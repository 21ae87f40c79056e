"""What DSQNet does beyond the recorded cases: any size, batches, options, checkpoints."""

import copy

import pytest
import torch
from mmengine import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.backbones import SwinTransformer as MMSegSwin
from mmseg.structures import SegDataSample
from torchvision.ops import roi_align

from rs_mm.errors import CheckpointError, ConfigError, MissingFileError
from rs_mm.models.backbones import SwinTransformer, ViTAE_Window_NoShift_basic
from rs_mm.models.necks import BMQ, FeatureFusionNeck
from rs_mm.models.utils import sample_regions
from rs_mm.registry import MODELS
from tools.benchmarks.dsqnet_plain import make_plain

from .dsqnet_cases import official_state

BACKBONES = dict(
    swin=dict(
        type='SwinTransformer',
        embed_dims=24,
        depths=[2, 1, 1, 1],
        num_heads=[1, 2, 4, 8],
        drop_path_rate=0.0,
    ),
    vitae=dict(
        type='ViTAE_Window_NoShift_basic',
        embed_dims=[8, 8, 16, 32],
        token_dims=[24, 48, 96, 192],
        rc_heads=[1, 1, 1, 2],
        rc_groups=[1, 4, 8, 8],
        nc_depths=[1, 1, 2, 1],
        nc_heads=[1, 1, 2, 4],
        nc_groups=[1, 4, 8, 8],
        drop_path_rate=0.0,
    ),
)


@pytest.fixture(autouse=True)
def _one_thread(_seed):
    torch.set_num_threads(1)  # steps this small are slower on several


def small_model(backbone='swin', join_dates=False, test_cfg=dict(mode='whole'), **bmq):  # noqa: B006
    init_default_scope('rs_mm')
    model = MODELS.build(
        ConfigDict(
            type='SiamEncoderDecoder',
            backbone=BACKBONES[backbone],
            join_dates=join_dates,
            neck=dict(type='FeatureFusionNeck', policy='concat'),
            decode_head=dict(
                type='DSQNetHead',
                in_channels=[24, 48, 96, 192],
                channels=32,
                dsp=dict(type='DSP'),
                bmq=dict(type='BMQ', **bmq),
                norm_cfg=dict(type='BN'),
                dropout_ratio=0.0,
                loss_decode=dict(type='mmseg.CrossEntropyLoss'),
            ),
            test_cfg=test_cfg,
        )
    )
    model.init_weights()
    for name, parameter in model.named_parameters():  # nothing symmetric, no zeros
        if parameter.ndim < 2 or 'point_mlp' in name or 'bias_table' in name:
            torch.nn.init.normal_(parameter, std=0.3, mean=0.3 * (parameter.ndim < 2))
    return model.eval()


def training_loss(model, inputs):
    labels = (inputs[:, :1] > 0).long()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    return model(inputs, samples, mode='loss')['decode.loss_ce']


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('size', [(64, 64), (70, 101), (160, 96), (33, 47)])
@torch.no_grad()
def test_any_size_and_batch(backbone, size):
    """Odd and non-square images; a batch gives what its images give alone."""
    model = small_model(backbone).double()
    inputs = torch.randn(3, 6, *size).double()
    logits = model(inputs)
    assert logits.shape == (3, 2, (size[0] + 3) // 4, (size[1] + 3) // 4)
    for image, expected in zip(inputs, logits):
        torch.testing.assert_close(model(image[None])[0], expected, atol=1e-6, rtol=1e-6)
    samples = model(inputs, mode='predict')
    assert samples[1].pred_sem_seg.data.shape == (1, *size)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_equals_the_plain_way(backbone):
    """Logits, loss, every gradient and every running statistic, in both modes."""
    model = small_model(backbone).double()
    plain = make_plain(copy.deepcopy(model))
    inputs = torch.randn(2, 6, 96, 128).double()
    with torch.no_grad():
        torch.testing.assert_close(model(inputs), plain(inputs), atol=1e-4, rtol=1e-4)
    losses = [training_loss(net.train(), inputs) for net in (model, plain)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    for (name, ours), other in zip(model.named_parameters(), plain.parameters()):
        if other.grad is None:
            assert ours.grad is None, name
        else:
            scale = other.grad.abs().max().item()
            assert (ours.grad - other.grad).abs().max() <= 1e-3 * scale + 1e-6, name
    for (name, ours), other in zip(model.named_buffers(), plain.buffers()):
        torch.testing.assert_close(ours, other, atol=1e-4, rtol=1e-3, msg=name)


def test_joined_dates_share_batch_statistics():
    inputs = torch.randn(2, 6, 64, 64)
    for join, calls in ((False, 2), (True, 1)):
        model = small_model('vitae', join_dates=join).train()
        training_loss(model, inputs)
        norm = model.backbone.layers[0].NC[0].PCM[1]
        assert norm.num_batches_tracked == calls


def test_drop_path_acts_in_training_only():
    config = dict(BACKBONES['vitae'], drop_path_rate=0.9, drop_path_over_whole_depth=True)
    init_default_scope('rs_mm')
    backbone = MODELS.build(config)
    inputs = torch.randn(1, 3, 64, 64)
    assert not torch.equal(backbone(inputs)[3], backbone(inputs)[3])
    backbone.eval()
    assert torch.equal(backbone(inputs)[3], backbone(inputs)[3])


def test_trained_regions():
    """As published no gradient reaches the region codes; with the option it does."""
    inputs = torch.randn(2, 6, 64, 64)
    model = small_model()
    trained = small_model(train_regions=True)
    trained.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(inputs), trained(inputs))
    for net in (model, trained):
        training_loss(net.train(), inputs).backward()
    names = [
        name
        for name, _ in model.named_parameters()
        if 'key_generation' in name or 'query_conv' in name
    ]
    assert len(names) == 9
    for name in names:
        assert model.get_parameter(name).grad is None
        assert not model.get_parameter(name).requires_grad
        assert trained.get_parameter(name).grad.abs().sum() > 0, name


def test_corrected_layout():
    """Content [channel, region] holds what that region shows of that channel."""
    torch.manual_seed(1)
    published = BMQ(32, dict(type='BN'), num_regions=3)
    corrected = BMQ(32, dict(type='BN'), num_regions=3, correct_layout=True)
    corrected.load_state_dict(published.state_dict())
    features = torch.arange(16.0).view(1, 16, 1, 1).expand(2, 16, 20, 20)  # the channel's number
    boxes = torch.tensor(
        [[2.0, 2.0, 9.0, 9.0], [3.0, 4.0, 12.0, 15.0], [6.0, 1.0, 15.0, 12.0]]
    ).expand(2, 3, 4)
    with torch.no_grad():
        for net in (published, corrected):
            torch.nn.init.zeros_(net.point_mlp[-1].weight)
            torch.nn.init.zeros_(net.point_mlp[-1].bias)
        content = corrected.look_up(features, boxes)
        torch.testing.assert_close(
            content,
            features[:, :, :1].expand(2, 16, 3, 20)[..., :1].expand(2, 16, 3, 64),
            atol=1e-4,
            rtol=0,
        )
        # as published: flat memory (region, channel) read as (channel, region)
        mixed = published.look_up(features, boxes)[0, :, :, 0].flatten()
    torch.testing.assert_close(mixed, torch.arange(16.0).repeat(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ('size', 'cells'),
    [((8, 11), [[0, 4], [0, 4]]), ((16, 23), [[0, 8], [0, 8]]), ((10, 10), [[0, 4], [0, 4]])],
)
def test_query_pool_of_the_published_sizes(size, cells):
    """Cells of 4 (built for 256) or 8 (built for 512); what is left over is dropped."""
    keys = BMQ(16, dict(type='BN')).key_generation
    x = torch.rand(1, 2, *size)
    pooled = keys._pool(x)
    step = cells[0][1]
    for row, top in enumerate(cells[0]):
        for column, left in enumerate(cells[1]):
            expected = x[:, :, top : top + step, left : left + step].mean((2, 3))
            torch.testing.assert_close(pooled[:, :, row, column], expected)


@pytest.mark.parametrize('size', [(1, 1), (3, 5), (12, 12), (8, 16), (40, 7)])
def test_query_pool_of_other_sizes(size):
    pooled = BMQ(16, dict(type='BN')).key_generation._pool(torch.rand(1, 2, *size))
    assert pooled.shape == (1, 2, 2, 2)


@pytest.mark.parametrize('size', [(64, 64), (25, 58), (5, 3)])
def test_regions_equal_roi_align(size):
    features = torch.randn(2, 5, *size)
    extent = torch.tensor([size[1], size[0]] * 2)
    low, high = torch.rand(2, 9, 2, 2).mul(1.6).sub(0.3).sort(2).values.unbind(2)
    boxes = torch.cat([low, low + (high - low).clamp(max=1)], -1) * extent
    crops = sample_regions(features, boxes, 7)
    expected = roi_align(features, list(boxes), 7, 1.0, -1, aligned=True)
    torch.testing.assert_close(crops.flatten(0, 1), expected, atol=1e-4, rtol=1e-4)


def test_regions_pass_a_gradient_to_their_boxes():
    """On a plane of slopes 2 (x) and 3 (y) a bin's mean moves with the bin's centre."""
    plane = 2 * torch.arange(11.0) + 3 * torch.arange(9.0)[:, None]
    boxes = torch.tensor([[[1.31, 2.13, 6.24, 7.74], [2.42, 1.95, 9.13, 5.37]]], requires_grad=True)
    crops = sample_regions(plane.expand(1, 1, 9, 11), boxes, 3)
    centre = boxes.view(1, 2, 2, 2).mean(2) - 0.5
    torch.testing.assert_close(crops.mean((2, 3, 4)), centre @ torch.tensor([2.0, 3.0]))
    crops.sum().backward()
    expected = torch.tensor([2.0, 3.0, 2.0, 3.0]).expand(1, 2, 4) * 9 / 2
    torch.testing.assert_close(boxes.grad, expected)


@torch.no_grad()
def test_slide_inference():
    """Any number of windows per forward gives the same; a small image is one window."""
    config = dict(mode='slide', crop_size=(64, 64), stride=(40, 48))
    inputs = torch.randn(2, 6, 100, 130).double()
    model = small_model(test_cfg=config).double()
    results = []
    for window_batch in (None, 1, 4, 100):
        model.test_cfg.window_batch = window_batch
        results.append(model.slide_inference(inputs, None))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], atol=1e-4, rtol=1e-4)
    corner = model.encode_decode(inputs[..., :64, :64], None)[..., :36, :48]
    torch.testing.assert_close(results[0][..., :36, :48], corner, atol=1e-4, rtol=1e-4)
    small = inputs[..., :48, :60]
    torch.testing.assert_close(
        model.slide_inference(small, None), model.encode_decode(small, None), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(
    ('policy', 'expected'),
    [('concat', [1.0, 5.0]), ('sum', [6.0]), ('diff', [4.0]), ('abs_diff', [4.0])],
)
def test_fusion(policy, expected):
    first, second = ([torch.full((1, 1, 2, 2), value)] for value in (1.0, 5.0))
    (fused,) = FeatureFusionNeck(policy, out_indices=[0])(first, second)
    assert fused[0, :, 0, 0].tolist() == expected
    if policy == 'abs_diff':
        assert torch.equal(FeatureFusionNeck(policy, out_indices=[0])(second, first)[0], fused)


def official_file(path, backbone, change=None, container='model'):
    state, _ = official_state(f'dsqnet_{backbone}_c64')
    state = {name: value for name, value in state.items() if name.startswith('backbone.')}
    state['module.head.weight'] = torch.zeros(3)
    if change:
        change(state)
    torch.save({container: state} if container else state, path)
    return dict(type='Pretrained', checkpoint=str(path))


def test_original_swin_checkpoint(tmp_path):
    """The official naming and order; mmseg's own class computes the same from the result."""
    init_cfg = official_file(tmp_path / 'swin.pth', 'swin')
    backbone = SwinTransformer(init_cfg=init_cfg)
    backbone.init_weights()
    other = MMSegSwin()
    other.load_state_dict(backbone.state_dict())
    other.eval()
    inputs = torch.randn(1, 3, 61, 90)
    with torch.no_grad():
        for ours, theirs in zip(backbone.eval()(inputs), other(inputs)):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('container', ['state_dict_ema', 'model', None])
def test_original_vitae_checkpoint(tmp_path, container):
    init_cfg = official_file(tmp_path / 'vitae.pth.tar', 'vitae', container=container)
    backbone = ViTAE_Window_NoShift_basic(init_cfg=init_cfg)
    backbone.init_weights()
    state, _ = official_state('dsqnet_vitae_c64')
    for name, value in backbone.state_dict().items():
        if not name.endswith('num_batches_tracked'):
            assert torch.equal(value, state[f'backbone.{name}']), name


def test_tables_of_another_window_are_resized(tmp_path):
    name = 'backbone.layers.0.blocks.0.attn.relative_position_bias_table'
    init_cfg = official_file(
        tmp_path / 'swin.pth',
        'swin',
        lambda state: state.update({name: torch.full((23 * 23, 3), 0.25)}),
    )
    backbone = SwinTransformer(init_cfg=init_cfg)
    backbone.init_weights()
    table = backbone.stages[0].blocks[0].attn.w_msa.relative_position_bias_table
    torch.testing.assert_close(table.data, torch.full((169, 3), 0.25))


def test_wrong_checkpoints_are_named(tmp_path):
    name = 'backbone.layers.0.blocks.0.mlp.fc1.weight'
    wrong = official_file(
        tmp_path / 'wrong.pth', 'swin', lambda state: state.update({name: torch.zeros(5, 5)})
    )
    with pytest.raises(CheckpointError, match=r'shape \(5, 5\).*\(384, 96\)'):
        SwinTransformer(init_cfg=wrong).init_weights()
    vitae = official_file(
        tmp_path / 'vitae.pth',
        'vitae',
        lambda state: [state.pop(key) for key in list(state) if 'norm' in key],
    )
    with pytest.raises(CheckpointError, match='another model'):
        SwinTransformer(init_cfg=vitae).init_weights()
    with pytest.raises(MissingFileError, match='ViTAE-Transformer'):
        ViTAE_Window_NoShift_basic(
            init_cfg=dict(type='Pretrained', checkpoint='missing.pth')
        ).init_weights()
    with pytest.raises(ConfigError, match='full'):
        ViTAE_Window_NoShift_basic(attention=('window', 'all', 'full', 'full'))
