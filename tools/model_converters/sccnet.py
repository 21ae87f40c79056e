"""Converts a published SCCNet checkpoint (``best_model.pt``) into one of rs_mm.

python tools/model_converters/sccnet.py best_model.pt checkpoints/sccnet_r50_isaid_f0.pth
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('src', help='the published best_model.pt')
    parser.add_argument('dst', help='checkpoint to write, for tools/test.py')
    return parser.parse_args()


def convert(src, dst):
    """Reads the published file, checks that it is complete, and writes a checkpoint of rs_mm."""
    from rs_mm.checkpoint import read_state_dict, save_converted
    from rs_mm.converters import sccnet
    from rs_mm.errors import CheckpointError

    state = read_state_dict(src)
    try:
        converted = sccnet.convert(state)
    except CheckpointError as error:
        raise CheckpointError(f'{src} is not a checkpoint of SCCNet: {error}') from error
    arch = sccnet.architecture(state)
    missing = sccnet.missing_names(state, converted)
    if missing:
        raise CheckpointError(
            f'{src} is not a checkpoint of SCCNet with {arch}: {missing[0]} and '
            f'{len(missing) - 1} more are missing or of another shape.'
        )
    save_converted(converted, dst, dict(source=str(src), arch=arch))
    print(
        f'{arch}: {len(converted)} entries mapped, {len(state) - len(converted)} dropped (the '
        f'classifier of the backbone), 0 missing -> {dst}'
    )


def __getattr__(name):
    """The functions of this module in version 0.1 are now in :mod:`rs_mm.converters.sccnet`."""
    from rs_mm.converters import sccnet

    return getattr(sccnet, name)


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: convert(args.src, args.dst))


if __name__ == '__main__':
    main()
