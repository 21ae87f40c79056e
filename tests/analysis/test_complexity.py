"""Counting and measuring a model."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn

from rs_mm.analysis.complexity import (
    build_model,
    count_flops,
    count_parameters,
    example_batch,
    flop_counter,
)
from rs_mm.analysis.data_benchmark import measure_data
from rs_mm.analysis.step_benchmark import Setting, measure, measure_in_turn, time_repeatedly
from rs_mm.datasets.fake.multilabel_images import make_multilabel
from rs_mm.errors import ConfigError
from rs_mm.launch.config import load_config
from rs_mm.models.utils.linear import map_linear
from rs_mm.registry import MODELS

ROOT = Path(__file__).parents[2]


@MODELS.register_module()
class CountedModel(BaseModel):
    """Its head is not called but its method is, as mmseg's heads are."""

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 2, 1, bias=False)

        def predict(self, x):
            return self.conv(x)

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.backbone = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.head = self.Head()

    def example_inputs(self, batch, height, width):
        return dict(inputs=torch.randn(batch, 3, height, width))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = self.head.predict(self.backbone(inputs))
        return dict(loss=out.mean()) if mode == 'loss' else out


CONFIG = Config(
    dict(
        default_scope='rs_mm',
        model=dict(type='CountedModel', init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth')),
    )
)


def test_counts_by_part_without_pretrained_weights():
    model = build_model(CONFIG)
    total, parts = count_flops(model, model.example_inputs(2, 8, 6))
    pixels = 2 * 8 * 6
    assert parts == dict(backbone=pixels * 3 * 4 * 9, head=pixels * 4 * 2)
    assert total == sum(parts.values())
    assert count_parameters(model) == (3 * 4 * 9 + 8, dict(backbone=108, head=8))


def test_an_empty_input_is_refused():
    with pytest.raises(ConfigError, match='0 x 64 is empty'):
        example_batch(build_model(CONFIG), 1, 0, 64)


@torch.no_grad()
def test_counts_what_cpus_fuse():
    with flop_counter() as counter:
        map_linear(nn.Linear(3, 5), torch.randn(1, 20, 30, 3), gelu=True)
    assert counter.get_total_flops() == 2 * 20 * 30 * 3 * 5
    query = torch.randn(2, 3, 7, 8)
    with flop_counter() as counter:
        nn.functional.scaled_dot_product_attention(query, query, query)
    assert counter.get_total_flops() == 2 * 3 * (7 * 7 * 8) * 2 * 2


def test_measure_predict_and_train():
    forward, backward = 108 + 8, 108 + 2 * 8  # no gradient for the image
    for train, per_pixel in ((False, forward), (True, forward + backward)):
        result = measure(CONFIG, Setting(height=8, width=8, train=train, seconds=0.01))
        assert 0 < result['ms_low'] <= result['ms'] <= result['ms_high']
        assert result['peak_mib'] > 0 and result['share_of_rate'] > 0
        assert result['gflop'] * 1e9 == pytest.approx(2 * 8 * 8 * per_pixel)


def test_time_repeatedly_runs_at_least_three_times():
    calls = []
    assert len(time_repeatedly(lambda: calls.append(1), seconds=0, warmup=1)) == 3
    assert len(calls) == 4


@pytest.mark.parametrize(
    'config',
    ['grn_sndl-bce_demo', 'oml_r18_64_12e_fake_ucm', 'sccnet_fake_isaid_fold0', 'dsqnet_swin_demo'],
)
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_every_trained_system_is_measured(config, dtype):
    torch.set_num_threads(1)
    cfg = load_config(ROOT / f'configs/demo/{config}.py')
    if 'encoder' in cfg.model:
        cfg.model.encoder.model = 'test_resnet'
    setting = Setting(
        height=64, width=96, batch=2, train=True, seconds=0.01, dtype=dtype, channels_last=True
    )
    assert measure(cfg, setting)['per_second'] > 0
    model = build_model(cfg)
    assert count_flops(model, example_batch(model, 1, 64, 64))[0] > 1e6


def test_composed_retrieval_is_measured_in_prediction_only():
    cfg = load_config(ROOT / 'configs/demo/weicom_tiny_patterncom.py')
    assert measure(cfg, Setting(height=64, width=64, seconds=0.01))['per_second'] > 0
    with pytest.raises(ConfigError, match='is training-free and has no training step to measure'):
        measure(cfg, Setting(height=64, width=64, train=True))
    with pytest.raises(ConfigError, match='takes 64 x 64 pixels, not 32 x 32: use --shape 64'):
        measure(cfg, Setting(height=32, width=32))


def test_attention_is_counted():
    """A transformer's in and out projections are 4 D^2 multiply-adds per token."""
    cfg = load_config(ROOT / 'configs/demo/weicom_tiny_patterncom.py')
    model = build_model(cfg)
    tokens, width, layers = 4 * 4 + 1, 128, 2
    expected = (
        layers * tokens * (12 * width**2 + 2 * tokens * width)
        + 16 * 3 * 16**2 * width
        + width * 128
    )
    assert count_flops(model, example_batch(model, 1, 64, 64))[0] == expected


def test_several_ways_take_turns_and_have_their_own_peak():
    small = Setting(height=8, width=8, seconds=0.01)
    large = Setting(height=2048, width=2048, seconds=0.01)  # 64 MiB of feature maps
    results = measure_in_turn(CONFIG, [small, large, small])
    assert results[1]['peak_mib'] > results[0]['peak_mib'] + 60
    assert results[2]['peak_mib'] < results[0]['peak_mib'] + 30
    assert results[1]['ms'] > results[0]['ms']


def test_the_data_pipeline_is_measured(tmp_path):
    make_multilabel(tmp_path, 'ucm', images=60, size=32)
    cfg = load_config(
        ROOT / 'configs/demo/oml_r18_64_12e_fake_ucm.py',
        {'train_dataloader.dataset.data_root': str(tmp_path), 'train_dataloader.batch_size': 8},
    )
    found = measure_data(cfg, seconds=0.1, workers=[0, 1])
    assert found['type'] == 'MultiLabelDataset' and found['samples'] == 42
    names = [name for name, _ in found['steps']]
    assert '1. LoadBandImage' in names and '(dataset)' in names
    spent = sum(milliseconds for _, milliseconds in found['steps'])
    assert spent == pytest.approx(1e3 / found['per_second'], rel=1e-6)
    assert set(found['loader']) == {0, 1} and min(found['loader'].values()) > 0
    cfg.train_dataloader.batch_size = 64
    with pytest.raises(ConfigError, match='42 samples, fewer than a batch of 64'):
        measure_data(cfg, seconds=0.1, workers=[0])
    cfg.pop('train_dataloader')
    with pytest.raises(ConfigError, match='has no `train_dataloader`'):
        measure_data(cfg)
