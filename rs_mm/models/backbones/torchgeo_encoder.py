"""Encoders for earth observation from torchgeo, which identify bands by their wavelengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from rs_mm.errors import CheckpointError, ConfigError, MissingFileError
from rs_mm.models.utils.pretrained import pretrained_file
from rs_mm.registry import MODELS

from .simple_pyramid import SimpleFeaturePyramid

# central wavelengths in micrometres; ESA, "Sentinel-2 Spectral Response Functions" (S2A), R, G, B
# and NIR are B4, B3, B2 and B8 of the same instrument
WAVELENGTHS = {
    'B1': 0.443,
    'B2': 0.490,
    'B3': 0.560,
    'B4': 0.665,
    'B5': 0.705,
    'B6': 0.740,
    'B7': 0.783,
    'B8': 0.842,
    'B8A': 0.865,
    'B9': 0.945,
    'B11': 1.610,
    'B12': 2.190,
    'R': 0.665,
    'G': 0.560,
    'B': 0.490,
    'NIR': 0.842,
}


@MODELS.register_module()
class TorchGeoEncoder(BaseModule):
    """A foundation encoder of torchgeo that returns its last map, or four stages made from it.

    Three families are supported: ``dofa_*`` (Xiong et al. 2024), ``panopticon_vitb14`` (Waldmann et
        al.
    2025) and ``copernicusfm_base`` (Wang et al. 2025). Each computes its first layer from the
    wavelengths of the bands, so it takes any bands in any order. torchgeo's ResNets, Swins and ViTs
    are networks of timm or torchvision with other weights: :class:`TimmEncoder` loads the file of
    such a ResNet or ViT.

    torchgeo 0.8 has no Prithvi and no Clay. Its CROMA, ScaleMAE and Aurora take fixed bands or
    images of one size; they are not adapted here.

    Args:
        model: torchgeo's name.
        bands: one entry per band of the images, in their order: a name of Sentinel-2 (``'B4'``) or
            of a colour (``'R'``, ``'G'``, ``'B'``, ``'NIR'``), or a wavelength in micrometres.
        img_size: side for which the network is built; images of another size are resized to it, and
            the maps belong to the resized image.
        out_indices: None for one map; otherwise the numbers of some of the four scales of
            :class:`SimpleFeaturePyramid`, fine to coarse.
        frozen: no gradients and no updates.
        pyramid_channels: channels of the four scales.
        model_args: further arguments of the torchgeo model, e.g. ``dict(depth=2)``.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` with a local file as torchgeo
            publishes it, or ``torchgeo/NAME``, e.g. ``torchgeo/DOFABase16_Weights.DOFA_MAE``.

    Raises:
        ConfigError: torchgeo is missing or has no such model, or a band is unknown.

    Examples:
        >>> encoder = TorchGeoEncoder('dofa_small_patch16_224', bands=['R', 'G', 'B', 'NIR'])
        >>> encoder(torch.rand(2, 4, 224, 224)).shape
        torch.Size([2, 384, 14, 14])
    """

    def __init__(
        self,
        model: str,
        bands: Sequence[str | float],
        img_size: int = 224,
        out_indices: Sequence[int] | None = None,
        frozen: bool = False,
        pyramid_channels: int = 256,
        model_args: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.name, self.frozen, self.img_size = model, frozen, img_size
        self.wavelengths = [_wavelength(band) for band in bands]
        self.in_channels = len(self.wavelengths)
        self.model = _create(model, img_size, model_args or {})
        if frozen:
            self.model.requires_grad_(False)
        width = self._network.cls_token.shape[-1]
        self.pyramid = None
        self.out_indices = None if out_indices is None else tuple(out_indices)
        self.out_channels = width
        if self.out_indices is not None:
            if not self.out_indices or not all(0 <= index < 4 for index in self.out_indices):
                raise ConfigError(
                    f'encoder.out_indices={self.out_indices} must name some of the stages 0 to 3.'
                )
            self.pyramid = SimpleFeaturePyramid(width, pyramid_channels)
            self.out_channels = (pyramid_channels,) * len(self.out_indices)

    @property
    def _network(self):
        return self.model.model if _family(self.name) == 'panopticon' else self.model

    def train(self, mode: bool = True) -> TorchGeoEncoder:
        """Sets the mode; a frozen network stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (N, bands, H, W) to (N, out_channels, H', W'), or one map per stage.

        Raises:
            ConfigError: the images have another number of bands.
        """
        if x.shape[1] != self.in_channels:
            raise ConfigError(
                f'the images have {x.shape[1]} bands, but encoder.bands names {self.in_channels}; '
                'name one per band of the images.'
            )
        if x.shape[2:] != (self.img_size, self.img_size):
            x = F.interpolate(x, (self.img_size,) * 2, mode='bilinear', antialias=True)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self._map(x)
        if self.pyramid is None:
            return x
        scales = self.pyramid(x)
        return tuple(scales[index] for index in self.out_indices)

    def _map(self, images):
        """Returns the last block's tokens, normalised, without the tokens that have no position."""
        network, taken = self._network, []
        hook = network.blocks[-1].register_forward_hook(lambda *call: taken.append(call[-1]))
        try:
            _FAMILIES[_family(self.name)](self.model, images, self.wavelengths)
        finally:
            hook.remove()
        side = math.isqrt(taken[0].shape[1])
        norm = network.norm if hasattr(network, 'norm') else network.fc_norm
        tokens = norm(taken[0])
        return tokens[:, -(side**2) :].transpose(1, 2).unflatten(2, (side, side))

    def init_weights(self) -> None:
        """Loads the pretrained weights; without ``init_cfg`` torchgeo's initialisation stays.

        Raises:
            MissingFileError: the file does not exist, or the weights cannot be downloaded.
            CheckpointError: the weights are another network's.
        """
        checkpoint = pretrained_file(self)
        if not checkpoint:
            return
        state, own = _read(checkpoint), self._network.state_dict()
        places = state.get('pos_embed')
        if places is not None and places.shape != own['pos_embed'].shape:
            side = math.isqrt(own['pos_embed'].shape[1])
            state['pos_embed'] = resample_abs_pos_embed(places, [side, side], num_prefix_tokens=1)
        wrong = [
            key
            for key in own
            if not key.startswith('fc_norm')  # files of masked autoencoders lack it
            and (key not in state or own[key].shape != state[key].shape)
        ]
        if wrong:
            raise CheckpointError(
                f'{checkpoint} is not of {self.name}: {wrong[0]} is missing '
                'there or has another shape.'
            )
        self._network.load_state_dict(
            {key: value for key, value in state.items() if key in own}, strict=False
        )


def _wavelength(band):
    if isinstance(band, str) and band.upper() in WAVELENGTHS:
        return WAVELENGTHS[band.upper()]
    if isinstance(band, (int, float)) and 0.3 <= band <= 20:
        return float(band)
    raise ConfigError(
        f'encoder.bands: {band!r} is not a band; name one of {", ".join(WAVELENGTHS)}, or give its '
        'wavelength in micrometres (0.3 to 20).'
    )


def _import():
    try:
        import torchgeo.models
    except ImportError as error:
        raise ConfigError(
            f'TorchGeoEncoder needs torchgeo ({error}); install it with `pip install '
            '"rs_mm[encoders]"`.'
        ) from error
    return torchgeo.models


def _family(name):
    return name.partition('_')[0]


def _create(name, img_size, args):
    models = _import()
    known = [one for one in models.list_models() if _family(one) in _FAMILIES]
    if name not in known:
        raise ConfigError(
            f'encoder.model {name!r} is none of the torchgeo models that TorchGeoEncoder runs: '
            f'{", ".join(sorted(known))}.'
        )
    model = models.get_model(name, img_size=img_size, **args)
    # these modules are not used and would never get a gradient
    if hasattr(model, 'head'):
        model.head = nn.Identity()
    if hasattr(model, 'patch_embed_variable'):
        model.patch_embed_variable = nn.Identity()
    return model


def _dofa(model, images, wavelengths):
    model.forward_features(images, wavelengths)


def _panopticon(model, images, wavelengths):
    nanometres = torch.tensor(wavelengths, device=images.device) * 1000
    model(dict(imgs=images, chn_ids=nanometres.expand(len(images), -1)))


def _copernicus(model, images, wavelengths):
    nanometres = [1000 * wavelength for wavelength in wavelengths]
    # place, time and area are unknown; the bandwidth is that of most Sentinel-2 bands
    model.forward_features(
        images,
        torch.full((len(images), 4), torch.nan, device=images.device),
        nanometres,
        [0.05 * wavelength for wavelength in nanometres],
    )


_FAMILIES = dict(dofa=_dofa, panopticon=_panopticon, copernicusfm=_copernicus)


def _read(checkpoint):
    source, _, name = checkpoint.partition('/')
    if source == 'torchgeo':
        try:
            return dict(_import().get_weight(name).get_state_dict(progress=False))
        except ValueError as error:
            raise ConfigError(f'torchgeo has no weights {name!r}.') from error
        except Exception as error:  # without a network the hub client raises errors of many types
            raise MissingFileError(
                f'the weights {name} could not be downloaded; get the file on another machine '
                'and name it in encoder.init_cfg.checkpoint.'
            ) from error
    from rs_mm.checkpoint import read_state_dict

    if not Path(checkpoint).is_file():
        raise MissingFileError(f'encoder.init_cfg.checkpoint: there is no file {checkpoint}.')
    return read_state_dict(checkpoint)
