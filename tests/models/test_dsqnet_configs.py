"""Every config of DSQNet builds; the published ones say what was published."""

from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from rs_mm.build_errors import explain_build_error
from rs_mm.errors import ConfigError, MissingFileError
from rs_mm.models import backbones
from rs_mm.registry import MODELS, PARAM_SCHEDULERS
from tests.parity import load_case

CONFIGS = sorted((Path(__file__).parents[2] / 'configs' / 'DSQNet').glob('*.py'))
PUBLISHED = [
    f'DSQNet_{backbone}_imp_{size}_80k_{data}_lr1e-4_bs8_wd0.01'
    for backbone in ('swin', 'vitae')
    for size, data in (
        ('512x512', 'levircd'),
        ('512x512', 's2looking'),
        ('512x512', 'svcd'),
        ('256x256', 'dsifn'),
    )
]


@pytest.fixture(autouse=True)
def _one_thread(_seed):
    torch.set_num_threads(1)  # steps this small are slower on several


def test_all_eight_are_there():
    assert set(PUBLISHED) <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_builds(path):
    config = Config.fromfile(path)
    init_default_scope(config.default_scope)
    model = MODELS.build(config.model)
    head = model.decode_head
    assert isinstance(head.norm_conv.norm, torch.nn.SyncBatchNorm)
    assert (head.sampler.thresh, head.sampler.min_kept) == (0.7, 100000)
    assert head.dropout.p == 0.1
    if path.stem in PUBLISHED:
        assert not head.bmq.correct_layout
        assert not head.bmq.train_regions
        assert config.train_dataloader.batch_size == 8
        size = int(path.stem.split('_')[3].split('x')[0])
        assert model.test_cfg.crop_size == (size, size)
        assert model.test_cfg.stride == (size // 2, size // 2)


@pytest.mark.parametrize(('backbone', 'largest'), [('swin', 0.3), ('vitae', 0.3 * 9 / 13)])
def test_drop_path_rates(backbone, largest):
    from mmcv.cnn.bricks import DropPath

    config = Config.fromfile(_path(PUBLISHED[0].replace('swin', backbone)))
    init_default_scope('rs_mm')
    model = MODELS.build(config.model)
    rates = [module.drop_prob for module in model.modules() if isinstance(module, DropPath)]
    assert max(rates) == pytest.approx(largest)


def test_drop_path_over_whole_depth():
    init_default_scope('rs_mm')
    config = Config.fromfile(_path(f'{PUBLISHED[4]}_whole_depth_drop_path'))
    cells = [cell for layer in MODELS.build(config.model).backbone.layers for cell in layer.NC]
    rates = [cell.drop_path.drop_prob for cell in cells]
    torch.testing.assert_close(rates, torch.linspace(0, 0.3, 14).tolist())


def _path(stem):
    return next(path for path in CONFIGS if path.stem == stem)


def test_schedule():
    """The learning rate of every recorded iteration, through mmengine's schedulers."""
    manifest, _ = load_case('dsqnet', 'dsqnet_schedule')
    config = Config.fromfile(_path(PUBLISHED[0]))
    assert config.train_cfg.max_iters == manifest['config']['total_iters']
    _check_rates(config, manifest['lr_80000'], 80000)
    config.optim_wrapper.optimizer.lr = 3e-4
    config.param_scheduler[0].end = config.param_scheduler[1].begin = 100
    config.param_scheduler[1].end = 1000
    _check_rates(config, manifest['lr_short'], 1000)


def _check_rates(config, expected, total):
    init_default_scope('rs_mm')
    wrapper = build_optim_wrapper(torch.nn.Linear(1, 1), config.optim_wrapper)
    schedulers = [
        PARAM_SCHEDULERS.build(entry, default_args=dict(optimizer=wrapper.optimizer))
        for entry in config.param_scheduler
    ]
    wrapper.optimizer.step()
    for iteration in range(total):
        if str(iteration) in expected:
            rate = wrapper.get_lr()['lr'][0]
            assert rate == pytest.approx(expected[str(iteration)], rel=1e-6, abs=1e-12), iteration
        for scheduler in schedulers:
            scheduler.step()
    assert wrapper.get_lr()['lr'][0] == pytest.approx(expected['after_last'], abs=1e-12)


@pytest.mark.parametrize(
    ('stem', 'rate', 'decay', 'warm_up', 'end'),
    [
        (PUBLISHED[0], 1e-4, 0.01, 1000, 80000),
        ('DSQNet_swin_imp_256x256_80k_levircd_lr1e-3_bs8_wd0.05', 1e-3, 0.05, 1000, 80000),
        ('DSQNet_vitae_imp_512x512_80k_clcd_lr1e-3_bs8_wd0.05', 1e-3, 0.05, 1000, 80000),
        ('DSQNet_swin_imp_256x256_100e_whucd_lr1e-4_bs8_wd0.01', 1e-4, 0.01, 1500, 74400),
    ],
)
def test_settings_of_other_sets(stem, rate, decay, warm_up, end):
    config = Config.fromfile(_path(stem))
    optimizer, (first, second) = config.optim_wrapper.optimizer, config.param_scheduler
    assert (optimizer.lr, optimizer.weight_decay) == (rate, decay)
    assert first.end == second.begin == warm_up
    assert second.end == config.train_cfg.max_iters == end
    assert end % config.train_cfg.val_interval == 0
    assert config.default_hooks.checkpoint.interval == config.train_cfg.val_interval
    assert config.default_hooks.checkpoint.save_best == 'mIoU'


def test_optimizer_decays_everything_alike():
    config = Config.fromfile(_path(PUBLISHED[0]))
    init_default_scope('rs_mm')
    optimizer = build_optim_wrapper(MODELS.build(config.model), config.optim_wrapper).optimizer
    (group,) = optimizer.param_groups
    assert type(optimizer).__name__ == 'AdamW'
    assert (group['lr'], group['betas'], group['weight_decay']) == (1e-4, (0.9, 0.999), 0.01)


@pytest.mark.parametrize(
    ('options', 'error', 'words'),
    [
        ({'decode_head.channels': 100}, ConfigError, 'channels=100'),
        ({'neck': None}, ConfigError, 'FeatureFusionNeck'),
        ({'neck.policy': 'product'}, ConfigError, "policy='product'"),
        ({'neck.polcy': 'sum'}, TypeError, 'polcy'),
        ({'decode_head.num_classes': 1}, ConfigError, 'num_classes=1 of DSQNetHead'),
        (
            {'decode_head.out_channels': 3},
            TypeError,
            "DSQNetHead.* unexpected keyword argument 'out_channels'",
        ),
        ({'backbone.depths': [1, 1, 1]}, ConfigError, 'depths has 3, num_heads has 4'),
        (
            {'backbone.num_heads': [3, 6, 12, 25]},
            ConfigError,
            '25 does not divide the 768 .* stage 4',
        ),
        ({'backbone.out_indices': [1, 2, 3, 4]}, ConfigError, 'out_indices=.* 4 stages'),
        (
            {'test_cfg.windw_batch': 3},
            ConfigError,
            "test_cfg.*`windw_batch`.*did you mean 'window_b",
        ),
        (
            {'test_cfg.mode': 'slidde'},
            ConfigError,
            "mode` must be 'whole' or 'slide', not 'slidde'",
        ),
        ({'test_cfg.crop_size': 64}, ConfigError, 'crop_size` must be two positive integers'),
        ({'test_cfg.stride': [0, 0]}, ConfigError, 'stride` must be two positive integers'),
        ({'test_cfg.stride': [256, 600]}, ConfigError, 'would leave gaps'),
        ({'test_cfg.window_batch': 0}, ConfigError, 'window_batch` must be a positive integer'),
        ({'train_cfg.foo': 1}, ConfigError, 'train_cfg` of SiamEncoderDecoder takes no keys.* foo'),
        ({'backbone.init_cfg.type': 'Normal'}, ConfigError, 'Normal'),
        ({'backbone.init_cfg.checkpoint': 'nowhere.pth'}, MissingFileError, 'Swin-Transformer'),
    ],
)
def test_mistakes_are_named(options, error, words):
    config = Config.fromfile(_path(PUBLISHED[0]))
    config.merge_from_dict({f'model.{key}': value for key, value in options.items()})
    init_default_scope('rs_mm')
    with pytest.raises(error, match=words):
        MODELS.build(config.model).init_weights()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(nc_depths=(1, 1, 1)), 'nc_depths has 3'),
        (dict(nc_heads=(1, 2, 4, 7)), 'nc_heads=.* 7 does not divide the 512 channels of stage 4'),
        (
            dict(rc_groups=(2, 16, 32, 64)),
            'rc_groups=.* 2 does not divide the 3 channels of stage 1',
        ),
    ],
)
def test_mistakes_in_vitae_are_named(options, words):
    with pytest.raises(ConfigError, match=words):
        backbones.ViTAE_Window_NoShift_basic(**options)


def test_an_unknown_key_lists_those_of_the_head():
    config = Config.fromfile(_path(PUBLISHED[0]))
    config.merge_from_dict({'model.decode_head.chanels': 64})
    init_default_scope('rs_mm')
    with pytest.raises(TypeError) as error:
        MODELS.build(config.model)
    message = explain_build_error(error.value)
    assert "type='DSQNetHead' takes no key `chanels`; did you mean 'channels'" in message
    assert 'out_channels' not in message and 'dropout_ratio' in message


def test_channels_of_another_backbone_are_named():
    config = Config.fromfile(_path(PUBLISHED[0]))
    config.model.backbone.init_cfg = None
    init_default_scope('rs_mm')
    model = MODELS.build(config.model)
    config.model.decode_head.in_channels = [64, 128, 256, 512]
    with pytest.raises(ConfigError, match=r'in_channels.*96, 192, 384, 768'):
        MODELS.build(config.model)
    with pytest.raises(ConfigError, match='backbone_inchannels'):
        model(torch.rand(1, 3, 64, 64))
