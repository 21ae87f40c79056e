"""The configs of baselines and of SCCNet on transformers: what they build learns."""

from pathlib import Path

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope

from rs_mm.launch.config import load_config
from rs_mm.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'
# the models of the other data sets are the same, but for the windows of the test
BASELINES = [
    pytest.param(f'{kind}_{encoder}', marks=pytest.mark.slow if kind != 'unet' else ())
    for kind in ('unet', 'siam-upernet')
    for encoder in ('r50', 'swin-t', 'convnext-t')
]


def built(path):
    cfg = load_config(CONFIGS / path)
    init_default_scope('rs_mm')
    cfg.model.backbone.init_cfg = None
    return revert_sync_batchnorm(MODELS.build(cfg.model))


def check_gradients(model, losses):
    total = sum(value for name, value in losses.items() if 'loss' in name)
    assert total.isfinite()
    total.backward()
    lost = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not lost  # DDP would wait for them


@pytest.mark.parametrize('name', BASELINES)
def test_baseline_learns(name):
    model = built(f'change_baselines/{name}_256x256_80k_dsifn.py')
    data = model.data_preprocessor(model.example_inputs(2, 64, 64), True)
    check_gradients(model, model(**data, mode='loss'))
    with torch.no_grad():
        result = model.eval()(**data, mode='predict')
    assert result[0].seg_logits.data.shape == (2, 64, 64)


@pytest.mark.parametrize('arch', ['dinov2-s14', 'dinov3-s16'])
def test_sccnet_learns_on_a_transformer(arch):
    model = built(f'sccnet/sccnet_{arch}_256_200k_isaid_fold0.py')
    data = model.data_preprocessor(model.example_inputs(1, 64, 64))
    check_gradients(model, model(**data, mode='loss'))
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert model.eval()(**data, mode='predict')[0].pred_mask.shape == (64, 64)
