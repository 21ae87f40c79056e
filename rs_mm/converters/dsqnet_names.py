"""Parameter names of the official DSQNet and of this package."""

import re

from torch import Tensor

from rs_mm.models.backbones.swin import rename_official

# parts of the official checkpoints that the official forward never uses, and constants
_UNUSED = re.compile(
    r'decode_head\.(discriminator|regions_cor2?)\.'
    r'|backbone\.layers\.\d+\.(RC\.attn|NC\.\d+)\.attn\.relative_position_bias_table$'
    r'|.*\.relative_position_index$'
)
_UNUSED_VITAE_NORMS = re.compile(r'backbone\.norm\d\.')

_HEAD = (
    (r'CFP\.mlpCov\.', 'dsp.semantic.project.'),
    (r'CFP\.MLP\.gn(\d)\.', r'dsp.semantic.norm\1.'),
    (r'CFP\.MLP\.conv1\.', 'dsp.semantic.conv.'),
    (r'CFP\.MLP\.LLMLP\.', 'dsp.semantic.mlp.'),
    (r'CFP\.convs\.', 'dsp.levels.'),
    (r'CFP\.query_bias_conv\.', 'bmq.query_conv.'),
    (r'key_generation\.query_bias_conv\.', 'bmq.key_generation.reduce.'),
    (r'key_generation\.query_key_conv\.', 'bmq.key_generation.fuse.'),
    (r'point1\.', 'bmq.point_conv.'),
    (r'point2\.', 'bmq.point_mlp.'),
    (r'neck_layer\.flow_make\.', 'fusion.flow.'),
)


def rename_official_dsqnet(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Converts official names and layout to those of rs_mm.

    Args:
        state: ``backbone.*`` and ``decode_head.*`` of an official checkpoint. Names of rs_mm are
            unchanged.

    Returns: The renamed state, and the dropped names of weights that are never used
        (``discriminator``, ``regions_cor``, ``regions_cor2``; in ViTAE also the position tables and
        the stage norms), or because the model computes them (position indices).
    """
    vitae = any('.RC.' in name for name in state)
    dropped = [
        name for name in state if _UNUSED.match(name) or (vitae and _UNUSED_VITAE_NORMS.match(name))
    ]
    renamed, backbone = {}, {}
    for name, value in state.items():
        if name in dropped:
            continue
        part, _, rest = name.partition('.')
        if part == 'backbone' and not vitae:
            backbone[rest] = value
        else:
            renamed[f'{part}.{_rename_head(rest)}' if part == 'decode_head' else name] = value
    renamed.update({f'backbone.{name}': value for name, value in rename_official(backbone).items()})
    return renamed, dropped


def _rename_head(name):
    for pattern, ours in _HEAD:
        if re.match(pattern, name):
            return re.sub(f'^{pattern}', ours, name)
    return name
