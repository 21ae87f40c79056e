"""Exports a trained model for people without this toolbox: ONNX, or torch.export's own format.

    python tools/export.py CONFIG CKPT --out exported/
    python tools/export.py CONFIG CKPT --out exported/ --shape 256 --batch 1
    python tools/export.py CONFIG CKPT --out exported/ --support TANK.png MASK.png

writes the networks and model.json, which says how images are prepared; tools/run_exported.py runs
them without torch.
"""

import argparse

from rs_mm.launch.options import add_config_options


def parse_args():
    parser = argparse.ArgumentParser(description='Export a trained model')
    parser.add_argument('config', help='config of the model')
    parser.add_argument(
        'checkpoint', nargs='?', help='its weights (default: the initial weights of the config)'
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write into')
    parser.add_argument(
        '--format', choices=['onnx', 'torch'], default='onnx',
        help='onnx (onnxruntime, QGIS) or torch (torch.export.load) (default: onnx)',
    )  # fmt: skip
    parser.add_argument(
        '--shape', nargs='+', type=int, metavar='SIDE',
        help='height and width of an image, or of a tile of a change detector '
        "(default: the config's)",
    )  # fmt: skip
    parser.add_argument('--batch', type=int, help='1 fixes the batch at one (default: any batch)')
    parser.add_argument(
        '--support', nargs=2, action='append', default=[], metavar=('IMAGE', 'MASK'),
        help='an example to store in the export of a few-shot segmenter; repeat for more',
    )  # fmt: skip
    parser.add_argument(
        '--precision', choices=['fp32', 'fp16', 'int8'], default='fp32',
        help='numbers of the weights (ONNX only; default: fp32)',
    )  # fmt: skip
    parser.add_argument(
        '--calibrate', nargs='+', metavar='IMAGE',
        help='images, or pairs BEFORE AFTER BEFORE AFTER ..., that int8 takes its ranges from; '
        'without them weights alone become int8',
    )  # fmt: skip
    parser.add_argument(
        '--calibrate-train', type=int, metavar='N',
        help='instead: N samples of the training set of the config, spread over it',
    )  # fmt: skip
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args), args)


def run(args):
    """Runs the command."""
    from rs_mm.apis import export
    from rs_mm.rasters import check_writable

    check_writable(args.out)  # before anything is loaded
    calibration = _calibration(args)
    info = export(
        args.config,
        args.checkpoint,
        args.out,
        format=args.format,
        shape=args.shape,
        batch=args.batch,
        supports=args.support,
        options=args.cfg_options,
    )
    if args.precision != 'fp32':
        from rs_mm.apis.exporting.precision import reduce_precision

        reduce_precision(args.out, args.precision, calibration)
    worst = max(graph['max_difference'] for graph in info['graphs'].values())
    print(f'wrote {args.out}: {info["task"]}, largest difference from the model {worst:.2g}')


def _calibration(args):
    if args.calibrate_train is None:
        return args.calibrate
    from rs_mm.apis.exporting.calibration import training_images
    from rs_mm.errors import ConfigError
    from rs_mm.launch.config import load_config

    if args.calibrate or args.precision != 'int8':
        raise ConfigError('--calibrate-train goes with --precision int8 and without --calibrate.')
    return training_images(load_config(args.config, args.cfg_options), args.calibrate_train)


if __name__ == '__main__':
    main()
