"""Tests a checkpoint by the metrics of a config: python tools/test.py CONFIG CKPT."""

import argparse

from rs_mm.launch.options import add_config_options, add_launcher


def parse_args():
    parser = argparse.ArgumentParser(description='Test a model by the metrics of its config')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint; without one the weights are '
        'those the config starts from (training-free systems need none)',
    )
    parser.add_argument(
        '--work-dir', metavar='DIR', help='folder of the logs (default: work_dirs/CONFIG_NAME)'
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help="FILE.json: the metrics; FILE.pkl: every sample's prediction, as mmengine dumps it",
    )
    parser.add_argument('--show', action='store_true', help='open each picture in a window')
    parser.add_argument(
        '--show-dir', metavar='DIR', help='save a picture of each result in this folder'
    )
    parser.add_argument(
        '--worst',
        type=int,
        default=0,
        metavar='N',
        help='draw only the N samples with the lowest scores into --show-dir',
    )
    parser.add_argument(
        '--out-samples',
        metavar='FILE.csv',
        help='table with a row of scores per pair, episode, image or query',
    )
    parser.add_argument(
        '--out-curves',
        metavar='DIR',
        help='confusion matrices, precision and recall over the threshold, scores per class',
    )
    parser.add_argument(
        '--backend',
        default='torch',
        help='torch, bfloat16, onnx, or the folder of an export (default: torch)',
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
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
    from rs_mm.apis import test

    test(
        args.config,
        args.checkpoint,
        args.cfg_options,
        work_dir=args.work_dir,
        out=args.out,
        show=args.show,
        show_dir=args.show_dir,
        tta=args.tta,
        launcher=args.launcher,
        out_samples=args.out_samples,
        worst=args.worst,
        out_curves=args.out_curves,
        backend=args.backend,
    )


if __name__ == '__main__':
    main()
