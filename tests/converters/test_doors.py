"""Every system's converter has the same two doors, and takes a part of a state, too."""

import pytest
import torch
from mmengine.registry import DefaultScope

from rs_mm.converters import dsqnet, grn, oml, sccnet
from rs_mm.errors import CheckpointError
from rs_mm.registry import MODELS
from tests.fss_parity import case_state
from tests.models.dsqnet_cases import official_state
from tests.parity import fill_state, load_case


def oml_state():
    shapes = load_case('oml', 'model_options')[0]['parameters']
    return fill_state({**shapes['r18_max'], **shapes['r18_cbam_head_only']})


def grn_state(name='resnet18_cls'):
    return fill_state(load_case('grn', 'models')[0]['parameters'][name])


STATES = {
    'dsqnet_swin': (dsqnet, lambda: official_state('dsqnet_swin_c64')[0]),
    'dsqnet_vitae': (dsqnet, lambda: official_state('dsqnet_vitae_c64')[0]),
    'grn': (grn, grn_state),
    'oml': (oml, oml_state),
    'sccnet': (sccnet, lambda: case_state('resnet50')),
}


@pytest.mark.parametrize('name', STATES)
def test_the_model_of_a_state_takes_its_weights(name):
    converter, make = STATES[name]
    state = make()
    with DefaultScope.overwrite_default_scope('rs_mm'):
        model = MODELS.build(converter.model_config(state))
    result = model.load_state_dict(converter.convert(state), strict=False)
    assert not result.unexpected_keys
    computed = ('num_batches_tracked', 'relative_position_index')
    assert [key for key in result.missing_keys if not key.endswith(computed)] == []


def test_a_part_is_converted():
    state = official_state('dsqnet_swin_c64')[0]
    part = {key: value for key, value in state.items() if key.startswith('backbone.')}
    whole = dsqnet.convert(state)
    for key, value in dsqnet.convert(part).items():
        assert torch.equal(whole[key], value)
    with pytest.raises(CheckpointError, match='conv_seg'):
        dsqnet.model_config(part)


@pytest.mark.parametrize(
    'backbone',
    [
        'resnet18',
        'resnet34',
        'resnet50',
        'resnet101',
        'resnet50_ibn_a',
        'se_resnet50',
        'se_resnext50_32x4d',
        'senet154',
        'vgg16',
        'vgg19',
        'efficientnet-b0',
        'efficientnet-b1',
        'efficientnet-b3',
    ],
)
def test_omls_encoder_is_told_by_its_weights(backbone):
    with DefaultScope.overwrite_default_scope('rs_mm'), torch.device('meta'):
        encoder = MODELS.build(oml.published_encoder(backbone, 10))
    names = {f'encoder.{key}': value for key, value in encoder.state_dict().items()}
    assert oml._backbone(names) == (backbone, 10)


def test_another_networks_state_is_refused():
    foreign = {'layers.0.weight': torch.zeros(1)}
    for converter in (grn, oml, sccnet):
        with pytest.raises(CheckpointError):
            converter.convert(foreign)
