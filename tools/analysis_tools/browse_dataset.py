"""Draws the samples of a config after augmentation.

python tools/analysis_tools/browse_dataset.py CONFIG --out DIR --num 16
"""

import argparse

from rs_mm.launch.options import add_config_options


def parse_args():
    parser = argparse.ArgumentParser(description='Draw augmented samples of a config')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--out',
        default='work_dirs/browse',
        metavar='DIR',
        help='folder of the pictures (default: %(default)s)',
    )
    parser.add_argument('--num', type=int, default=16, help='pictures (default: %(default)s)')
    parser.add_argument(
        '--split',
        choices=['train', 'val', 'test'],
        default='train',
        help='whose pipeline (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the draws')
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: browse(args), args)


def browse(args):
    """Runs the command."""
    from rs_mm.analysis.browse import browse_dataset

    count = browse_dataset(args.config, args.out, args.num, args.split, args.seed, args.cfg_options)
    print(f'{count} pictures in {args.out}')


if __name__ == '__main__':
    main()
