"""Models and inputs of the recorded DSQNet cases."""

import numpy as np
import torch
from mmengine import ConfigDict
from mmengine.registry import init_default_scope

import rs_mm.models  # noqa: F401
from rs_mm.converters.dsqnet_names import rename_official_dsqnet
from rs_mm.registry import MODELS
from tests import fill
from tests.parity import fill_state, load_case

CHANNELS = dict(swin=[96, 192, 384, 768], vitae=[64, 128, 256, 512])
TYPES = dict(swin='SwinTransformer', vitae='ViTAE_Window_NoShift_basic')
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)


def model_config(backbone, channels, **bmq):
    """A whole model without drop path and dropout."""
    return dict(
        type='SiamEncoderDecoder',
        backbone=dict(type=TYPES[backbone], drop_path_rate=0.0),
        neck=dict(type='FeatureFusionNeck', policy='concat'),
        decode_head=dict(
            type='DSQNetHead',
            in_channels=CHANNELS[backbone],
            channels=channels,
            dsp=dict(type='DSP'),
            bmq=dict(type='BMQ', **bmq),
            dropout_ratio=0.0,
            norm_cfg=dict(type='BN'),
            loss_decode=dict(type='mmseg.CrossEntropyLoss'),
            sampler=dict(type='mmseg.OHEMPixelSampler', thresh=0.7, min_kept=100000),
        ),
        test_cfg=ConfigDict(mode='whole'),
    )


def official_state(name):
    """Deterministic weights under the original names, and the list they come from."""
    manifest, _ = load_case('dsqnet', f'{name}_state')
    return {**fill_state(manifest['parameters']), **fill_state(manifest['float_buffers'])}, manifest


def build_case(name, **bmq):
    """The model ``dsqnet_{backbone}_c{width}`` in evaluation mode, with its weights."""
    init_default_scope('rs_mm')
    _, backbone, width = name.split('_')
    model = MODELS.build(model_config(backbone, int(width[1:]), **bmq))
    state, _ = rename_official_dsqnet(official_state(name)[0])
    result = model.load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert all(
        key.endswith(('num_batches_tracked', 'relative_position_index'))
        for key in result.missing_keys
    )
    return model.eval()


def bgr_pair(inputs):
    """The pair of a case as (N, 6, H, W), values 0..255, BGR."""
    dates = [
        torch.from_numpy(np.round(fill.field(i['name'], i['shape']) * 255)) for i in inputs[:2]
    ]
    return torch.cat(dates, 1)


def normalised_pair(inputs):
    """The same, RGB and normalised."""
    dates = bgr_pair(inputs).chunk(2, 1)
    return torch.cat([(date.flip(1) - MEAN) / STD for date in dates], 1)


def normals(inputs):
    return [torch.from_numpy(fill.normal(i['name'], i['shape'])) for i in inputs]


def stored(value, spec):
    """The part of ``value`` that the case stores: 'whole' or 'subsample [slices]'."""
    if spec['stored'] == 'whole':
        return value
    slices = spec['stored'].removeprefix('subsample [').removesuffix(']').split(',')
    return value[
        tuple(slice(*(int(n) if n else None for n in part.strip().split(':'))) for part in slices)
    ]


def check(case, outputs, atol=2e-3, rtol=0.0):
    """Compares named tensors with the case's; every name must be there."""
    manifest, arrays = case
    for name, value in outputs.items():
        spec = manifest['outputs'][name]
        assert list(value.shape) == spec['full_shape'], name
        torch.testing.assert_close(
            stored(value, spec),
            torch.from_numpy(arrays[name]),
            atol=atol,
            rtol=rtol,
            check_dtype=False,
            msg=lambda text, name=name: f'{name}: {text}',
        )
