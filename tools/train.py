"""Trains the model of a config: python tools/train.py CONFIG."""

import argparse

from rs_mm.launch.options import add_config_options, add_launcher


def parse_args():
    parser = argparse.ArgumentParser(description='Train the model of a config')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help='folder of logs and checkpoints (default: work_dirs/CONFIG_NAME)',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on from CKPT, or from the latest checkpoint of the work dir',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='automatic mixed precision: float16, or bfloat16 on a CPU',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by batch size over auto_scale_lr.base_batch_size',
    )
    add_config_options(parser)
    add_launcher(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help and wrong paths answer at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args), args)


def run(args):
    """Runs the command."""
    from rs_mm.apis import train

    train(
        args.config,
        args.cfg_options,
        work_dir=args.work_dir,
        resume=args.resume,
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        launcher=args.launcher,
    )


if __name__ == '__main__':
    main()
