"""Encoders of torchgeo, from random weights."""

import pytest
import torch

from rs_mm.errors import CheckpointError, ConfigError
from rs_mm.models.backbones import TorchGeoEncoder

pytest.importorskip('torchgeo', reason='needs the extra "encoders"')
BANDS = ['B2', 'B3', 'B4', 'NIR', 1.61]


@pytest.fixture(autouse=True)
def _few_blocks(monkeypatch):
    """Two blocks do; the published depths cannot be set from outside."""
    create = TorchGeoEncoder.__init__.__globals__['_create']

    def shallow(name, img_size, args):
        model = create(name, img_size, args)
        network = model.model if hasattr(model, 'model') else model
        network.blocks = network.blocks[:2]
        return model

    monkeypatch.setitem(TorchGeoEncoder.__init__.__globals__, '_create', shallow)


@pytest.mark.parametrize(
    'name, channels, side',
    [
        ('dofa_small_patch16_224', 384, 4),
        pytest.param('panopticon_vitb14', 768, 4, marks=pytest.mark.slow),
        pytest.param('copernicusfm_base', 768, 4, marks=pytest.mark.slow),
    ],
)
def test_maps_and_gradients(name, channels, side):
    encoder = TorchGeoEncoder(name, BANDS, img_size=64)
    x = encoder(torch.rand(2, 5, 64, 64))
    assert x.shape == (2, channels, side, side) and encoder.out_channels == channels
    x.square().mean().backward()
    unused = [
        key
        for key, p in encoder.named_parameters()
        if p.requires_grad and p.grad is None and 'mask_token' not in key
    ]
    assert not unused


@torch.no_grad()
def test_bands_may_come_in_any_order():
    encoder = TorchGeoEncoder('dofa_small_patch16_224', BANDS, img_size=32).eval()
    other = TorchGeoEncoder('dofa_small_patch16_224', BANDS[::-1], img_size=32).eval()
    other.load_state_dict(encoder.state_dict())
    images = torch.rand(1, 5, 32, 32)
    torch.testing.assert_close(encoder(images), other(images.flip(1)), atol=1e-4, rtol=1e-4)
    assert (encoder(images) - other(images)).abs().max() > 1e-3


def test_stages_and_weights(tmp_path):
    encoder = TorchGeoEncoder('dofa_small_patch16_224', ['R'], 64, (0, 3), pyramid_channels=8)
    torch.save({'model': encoder.model.state_dict()}, tmp_path / 'dofa.pth')
    shapes = [tuple(x.shape) for x in encoder(torch.rand(1, 1, 64, 64))]
    assert shapes == [(1, 8, 16, 16), (1, 8, 2, 2)]
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'dofa.pth'))
    other = TorchGeoEncoder('dofa_small_patch16_224', ['R'], 32, frozen=True, init_cfg=init)
    other.init_weights()  # of another size
    assert torch.equal(other.model.blocks[1].mlp.fc1.weight, encoder.model.blocks[1].mlp.fc1.weight)
    assert not other(torch.rand(1, 1, 40, 40)).requires_grad
    torch.save(dict(a=torch.zeros(1)), tmp_path / 'other.pth')
    other.init_cfg['checkpoint'] = str(tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='not of dofa_small'):
        other.init_weights()


def test_what_is_wrong_is_said():
    with pytest.raises(ConfigError, match="'X9' is not a band; name one of B1"):
        TorchGeoEncoder('dofa_small_patch16_224', ['X9'])
    with pytest.raises(
        ConfigError, match='none of the torchgeo models .*: copernicusfm_base, dofa'
    ):
        TorchGeoEncoder('prithvi', ['R'])
    encoder = TorchGeoEncoder('dofa_small_patch16_224', ['R'], 32)
    with pytest.raises(ConfigError, match='images have 3 bands, but encoder.bands names 1'):
        encoder(torch.rand(1, 3, 32, 32))
