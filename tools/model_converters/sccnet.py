"""Converts a published SCCNet checkpoint (``best_model.pt``) into one of rs_mm.

    python tools/model_converters/sccnet.py best_model.pt checkpoints/sccnet_r50_isaid_f0.pth

The published file holds the whole network under DataParallel's prefix ``module.``, the unused
classifier of the backbone included.
"""

import argparse
import re

_LEARNERS = {'hpn_learner': 'cross_learner', 'hpn_learner2': 'self_learner'}
_BLOCKS = {
    'encoder_layer4': 'squeeze.0',
    'encoder_layer3': 'squeeze.1',
    'encoder_layer2': 'squeeze.2',
    'encoder_layer4to3': 'mix.0',
    'encoder_layer3to2': 'mix.1',
}
_DECODERS = {'decoder1': 'decoder', 'decoder2': 'classifier'}
_CONVOLUTIONS = {'conv1': 'conv_query', 'conv2': 'conv_support'}
_UNUSED = ('backbone.fc.', 'backbone.classifier.')
_MAP_COUNTS = {'vgg16': (3, 3, 1), 'resnet50': (4, 6, 3), 'resnet101': (4, 23, 3)}


def convert_name(name):
    """The name in rs_mm of an entry of the original state dict (no ``module.``).

    Returns:
        str | None: None for the backbone's classifier, which segmentation does not use.

    Raises:
        KeyError: if the original network has no such entry.
    """
    if name.startswith(_UNUSED):
        return None
    if name == 'merger.0.weight':
        return 'head.merge.weight'
    top, _, rest = name.partition('.')
    if top == 'backbone':
        stem = rest.startswith(('conv1.', 'bn1.'))
        return f'backbone.net.{"stem." if stem else ""}{rest}'
    block, _, rest = rest.partition('.')
    if top not in _LEARNERS or block not in {**_BLOCKS, **_DECODERS}:
        raise KeyError(name)
    if block in _DECODERS:
        return f'head.{_LEARNERS[top]}.{_DECODERS[block]}.{rest}'
    convolution = re.fullmatch(r'(\d+)\.(conv[12])\.(\w+)', rest)
    if convolution:
        index, conv, leaf = convolution.groups()
        inside = f'{int(index) // 3}.{_CONVOLUTIONS[conv]}.{leaf}'
    else:
        index, leaf = rest.split('.')
        inside = f'{int(index) // 3}.norm.{leaf}'
    return f'head.{_LEARNERS[top]}.{_BLOCKS[block]}.{inside}'


def convert_state(state):
    """Renames the weights of the original network.

    Args:
        state (dict[str, Tensor]): names of the bare module.

    Returns:
        tuple[dict[str, Tensor], list[str]]: rs_mm's state dict, and the names left out.
    """
    names = {name: convert_name(name) for name in state}
    converted = {new: state[old] for old, new in names.items() if new}
    return converted, [old for old, new in names.items() if not new]


def architecture(state):
    """``resnet50``, ``resnet101`` or ``vgg16``, told by what the backbone holds."""
    if 'backbone.features.0.weight' in state:
        return 'vgg16'
    return 'resnet101' if 'backbone.layer3.22.conv1.weight' in state else 'resnet50'


def convert(src, dst):
    """Reads the published file, checks that nothing is missing, writes ours."""
    from rs_mm.checkpoint import read_state_dict, save_converted
    from rs_mm.errors import CheckpointError
    from rs_mm.models.segmentors.few_shot_segmentor import FewShotSegmentor

    state = read_state_dict(src)
    try:
        converted, dropped = convert_state(state)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f'{src} is not a checkpoint of SCCNet: it has an entry that the '
            f'network lacks ({error.args[0]}).'
        ) from error
    arch = architecture(state)
    model = FewShotSegmentor(
        dict(type='rs_mm.PreActivationBackbone', arch=arch),
        dict(type='rs_mm.SelfCrossCorrelationHead', in_channels=_MAP_COUNTS[arch]),
        dict(type='rs_mm.FewShotDataPreprocessor'),
    )
    missing = [
        name
        for name, value in model.state_dict().items()
        if getattr(converted.get(name), 'shape', None) != value.shape
        and not name.endswith('num_batches_tracked')
    ]
    if missing:
        raise CheckpointError(
            f'{src} is not a checkpoint of SCCNet with {arch}: {missing[0]} and '
            f'{len(missing) - 1} more are missing or of another shape.'
        )
    save_converted(converted, dst, dict(source=str(src), arch=arch))
    print(
        f'{arch}: {len(converted)} entries mapped, {len(dropped)} dropped (the classifier of '
        f'the backbone), 0 missing -> {dst}'
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('src', help='the published best_model.pt')
    parser.add_argument('dst', help='where to write the checkpoint for tools/test.py')
    args = parser.parse_args()
    # heavy imports wait, so that --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: convert(args.src, args.dst))


if __name__ == '__main__':
    main()
