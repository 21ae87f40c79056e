"""Counting and measuring a model."""

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn

from rs_mm.apis.benchmark import Setting, measure, time_repeatedly
from rs_mm.apis.complexity import build_model, count_flops, count_parameters
from rs_mm.registry import MODELS


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


CONFIG = Config(dict(default_scope='rs_mm', model=dict(
    type='CountedModel', init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth'))))


def test_counts_by_part_without_pretrained_weights():
    model = build_model(CONFIG)
    total, parts = count_flops(model, model.example_inputs(2, 8, 6))
    pixels = 2 * 8 * 6
    assert parts == dict(backbone=pixels * 3 * 4 * 9, head=pixels * 4 * 2)
    assert total == sum(parts.values())
    assert count_parameters(model) == (3 * 4 * 9 + 8, dict(backbone=108, head=8))


def test_measure_predict_and_train():
    for train in (False, True):
        result = measure(CONFIG, Setting(height=8, width=8, train=train, seconds=0.01))
        assert 0 < result['ms_low'] <= result['ms'] <= result['ms_high']
        assert result['peak_mib'] > 0 and (result['share_of_rate'] is None) == train


def test_time_repeatedly_runs_at_least_three_times():
    calls = []
    assert len(time_repeatedly(lambda: calls.append(1), seconds=0, warmup=1)) == 3
    assert len(calls) == 4
