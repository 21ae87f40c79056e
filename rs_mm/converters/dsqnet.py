"""Conversion of official DSQNet checkpoints."""

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from rs_mm.converters.dsqnet_names import rename_official_dsqnet
from rs_mm.errors import CheckpointError
from rs_mm.launch.config_files import find_config
from rs_mm.models.backbones import SwinTransformer, ViTAE_Window_NoShift_basic
from rs_mm.models.heads import DSQNetHead


def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights of an official DSQNet, or of a part of it, with the names of rs_mm.

    Args:
        state: weights with official names, ``backbone.*`` and ``decode_head.*``. Names of rs_mm are
            unchanged.
    """
    return rename_official_dsqnet(state)[0]


def model_config(state: dict[str, Tensor]) -> dict:
    """Returns the ``model`` of a config for these weights.

    Raises:
        CheckpointError: the checkpoint has no classifier, whose width the head needs.
    """
    vitae = any('.RC.' in name for name in state)
    cfg = Config.fromfile(find_config(f'_base_/models/dsqnet_{"vitae" if vitae else "swin"}.py'))
    cfg.model.backbone.init_cfg = None  # the weights come from the checkpoint
    cfg.model.decode_head.channels = _classifier(state).shape[1]
    return cfg.model.to_dict()


def convert_dsqnet(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Renames the weights of an official DSQNet and reports the result.

    Args:
        state: weights with official names, ``backbone.*`` and ``decode_head.*``. Names of rs_mm are
            unchanged.

    Returns: The weights with the names of rs_mm, and one line with the numbers of mapped, dropped
        (never used by the official forward) and missing weights.

    Raises:
        CheckpointError: the file is not a checkpoint of DSQNet.
    """
    renamed, dropped = rename_official_dsqnet(state)
    wanted = _parameter_names(renamed)
    missing = sorted(wanted - renamed.keys())
    unknown = sorted(renamed.keys() - wanted)
    if len(missing) > len(wanted) // 2:
        raise CheckpointError(
            f'the checkpoint has {len(wanted) - len(missing)} of the '
            f'{len(wanted)} tensors of DSQNet: it is of another model.'
        )
    for name in unknown:
        del renamed[name]
    parts = [f'{len(renamed)} of {len(wanted)} tensors mapped', f'{len(dropped)} unused dropped']
    parts += [
        f'{len(names)} {word} ({", ".join(names[:5])}{", …" if names[5:] else ""})'
        for word, names in (('unknown left out', unknown), ('missing', missing))
        if names
    ]
    return renamed, ', '.join(parts)


def _parameter_names(state):
    """Returns every name in a DSQNet with the backbone and the width of ``state``."""
    classifier = _classifier(state)
    if any('.RC.' in name for name in state):
        backbone, in_channels = ViTAE_Window_NoShift_basic(), (64, 128, 256, 512)
    else:
        backbone, in_channels = SwinTransformer(), (96, 192, 384, 768)
    with DefaultScope.overwrite_default_scope('rs_mm'):
        head = DSQNetHead(
            in_channels,
            classifier.shape[1],
            dsp=dict(type='DSP'),
            bmq=dict(type='BMQ'),
            norm_cfg=dict(type='BN'),
            loss_decode=dict(type='mmseg.CrossEntropyLoss'),
        )
    return {
        f'{part}.{name}'
        for part, module in (('backbone', backbone), ('decode_head', head))
        for name in module.state_dict()
        if not name.endswith('relative_position_index')
    }


def _classifier(state):
    weight = state.get('decode_head.conv_seg.weight')
    if weight is None:
        raise CheckpointError('the checkpoint has no decode_head.conv_seg: it is not of DSQNet.')
    return weight
