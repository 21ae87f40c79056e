"""Predicts what changed between two images: plain ones or GeoTIFFs, no labels needed.

    python tools/predict_change.py 2009.tif 2018.tif CONFIG CKPT --out changes/
    python tools/predict_change.py tiles_2009/ tiles_2018/ CONFIG CKPT --out changes/

writes a mask (0 unchanged, 255 changed; a GeoTIFF with the georeference of date 1 if date 1 is a
TIFF, else a PNG) and a picture of both dates and the prediction. Of two folders, files of the same
name are a pair.
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description='Predict what changed between two images')
    parser.add_argument('image1', help='date 1: a file or a folder')
    parser.add_argument('image2', help='date 2, of the same size and place')
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', help='weights of the model')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write into')
    parser.add_argument(
        '--bands',
        nargs=3,
        type=int,
        metavar=('R', 'G', 'B'),
        help='bands that serve as red, green, blue, counted from 0 (default: the first three)',
    )
    parser.add_argument(
        '--value-range',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help='values that become black and white (default: 8-bit images as they '
        'are, others from the 2nd to the 98th percentile)',
    )
    parser.add_argument(
        '--align',
        choices=['none', 'crop', 'ground'],
        default='none',
        help='ground: cut both to the ground they share, by their georeference; '
        'crop: cut both to the smaller height and width from the upper left '
        'corner (default: pairs of different size or ground are refused)',
    )
    parser.add_argument(
        '--resize',
        action='store_true',
        help="resize as the config's test pipeline does (default: predict at the "
        "images' own resolution)",
    )
    parser.add_argument(
        '--probability',
        action='store_true',
        help='also write the probability of change, 0 to 1, as a float32 TIFF',
    )
    parser.add_argument('--device', help='cpu, cuda, ... (default: CUDA where it is there)')
    parser.add_argument(
        '--cfg-options', nargs='+', metavar='KEY=VALUE', help='override keys of the config'
    )
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports wait, so that --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: predict(args))


def predict(args):
    """Runs one prediction as the command line says."""
    from rs_mm.apis import ChangeDetector
    from rs_mm.apis.change_files import check_folder, find_pairs, predict_files

    check_folder(args.out)  # before anything is loaded
    pairs = find_pairs(args.image1, args.image2)
    detector = ChangeDetector(
        args.config,
        args.checkpoint,
        device=args.device,
        options=args.cfg_options,
        resize=args.resize,
    )
    for image1, image2 in pairs:
        written = predict_files(
            detector,
            image1,
            image2,
            args.out,
            bands=args.bands,
            value_range=args.value_range,
            align=args.align,
            probability=args.probability,
        )
        print('\n'.join(f'wrote {path}' for path in written), flush=True)


if __name__ == '__main__':
    main()
