"""Official DSQNet checkpoints in this package's names."""

from mmengine.registry import DefaultScope
from torch import Tensor

from rs_mm.converters.dsqnet_names import rename_official_dsqnet
from rs_mm.errors import CheckpointError
from rs_mm.models.backbones import SwinTransformer, ViTAE_Window_NoShift_basic
from rs_mm.models.heads import DSQNetHead


def convert_dsqnet(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Renames the weights of an official DSQNet and says what happened to them.

    Args:
        state (dict[str, Tensor]): official names, ``backbone.*`` and ``decode_head.*``. Our own
            names pass unchanged.

    Returns:
        tuple: the weights in our names, and one line that counts what was mapped, dropped because
        the official forward never uses it, and missing.

    Raises:
        CheckpointError: if it is not a checkpoint of DSQNet.
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
    """Every name in a DSQNet with the backbone and the width of ``state``."""
    classifier = state.get('decode_head.conv_seg.weight')
    if classifier is None:
        raise CheckpointError('the checkpoint has no decode_head.conv_seg: it is not of DSQNet.')
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
