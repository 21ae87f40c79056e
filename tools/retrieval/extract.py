"""Embeds the images of a split or a folder into a feature cache, on any number of processes.

    python tools/retrieval/extract.py CONFIG CHECKPOINT --out DIR --split test
    torchrun --nproc_per_node 4 tools/retrieval/extract.py CONFIG CHECKPOINT --out DIR \
        --launcher pytorch
"""

import argparse

from rs_mm.launch.options import add_config_options, add_launcher


def parse_args():
    parser = argparse.ArgumentParser(
        description='Embed the images of a split or a folder. The same command again goes on after '
        'an interruption, also with another number of processes, and embeds what was added.'
    )
    parser.add_argument('config', help='config of an embedder')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint; without one the weights are '
        'those the config starts from (training-free systems need none)',
    )
    parser.add_argument(
        '--out',
        required=True,
        metavar='DIR',
        help='folder of the features; all processes must see it',
    )
    parser.add_argument(
        '--split',
        default='test',
        choices=['train', 'val', 'test'],
        help='split of the images; the test pipeline is used (default: test)',
    )
    parser.add_argument(
        '--archive', metavar='FOLDER', help='instead of a split: a folder with images'
    )
    parser.add_argument(
        '--shard-size',
        type=int,
        default=4096,
        metavar='N',
        help='images per shard: bounds memory and what a killed process loses (default: 4096)',
    )
    parser.add_argument(
        '--work-dir', metavar='DIR', help='folder of the logs (default: work_dirs/CONFIG_NAME)'
    )
    add_config_options(parser)
    add_launcher(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    def run():
        from rs_mm.apis import extract

        extract(
            args.config,
            args.checkpoint,
            args.out,
            args.split,
            args.archive,
            args.cfg_options,
            shard_size=args.shard_size,
            work_dir=args.work_dir,
            launcher=args.launcher,
        )

    run_cli(run)


if __name__ == '__main__':
    main()
