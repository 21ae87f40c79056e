"""Writes the labels of images, or of the tiles of scenes, into a table.

    python tools/predict_labels.py CONFIG CKPT FOLDER --out tags.csv
    python tools/predict_labels.py CONFIG CKPT SCENE.tif --tile 150m --stride 75m --out tags.csv \
        --tiles tiles.gpkg --rasters maps/

No labels and no dataset layout are needed. An unreadable file is a row with the reason.
"""

import argparse
import sys

from rs_mm.launch.options import add_config_options, add_device


def parse_args():
    parser = argparse.ArgumentParser(description='Predict the labels of images and scenes')
    parser.add_argument('config', help='config of configs/grn or configs/oml')
    parser.add_argument('checkpoint', help='weights of the model')
    parser.add_argument('images', nargs='+', help='images, folders or scenes')
    parser.add_argument('--out', required=True, metavar='FILE.csv', help='table to write')
    parser.add_argument(
        '--threshold',
        nargs='+',
        metavar='T',
        help='a number for all classes, or CLASS=NUMBER for single ones (default: those that '
        'tools/choose_thresholds.py stored in the checkpoint, else 0.5)',
    )
    parser.add_argument(
        '--method',
        default='auto',
        choices=['auto', 'classifier', 'knn'],
        help='classifier, or nearest neighbours in the memory of a GRN (default: the classifier '
        'where there is one)',
    )
    parser.add_argument(
        '--tile', help='cut scenes into tiles: pixels (256) or metres on the ground (150m)'
    )
    parser.add_argument(
        '--stride', help='distance between tiles, in the same form (default: the tile)'
    )
    parser.add_argument(
        '--tiles', metavar='FILE', help='the tiles of georeferenced scenes: .gpkg or .geojson'
    )
    parser.add_argument(
        '--rasters', metavar='DIR', help='a GeoTIFF of the probability of each class'
    )
    parser.add_argument(
        '--show-dir',
        metavar='DIR',
        help='a sheet of each class: its most certain images and those near the threshold',
    )
    parser.add_argument(
        '--map', metavar='FILE.html', help='a map or list of the labels, which opens offline'
    )
    parser.add_argument(
        '--batch', type=int, help="number of images computed together (default: the config's)"
    )
    add_device(parser)
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    failed = {}
    run_cli(lambda: failed.update(predict(args)), args)
    sys.exit(1 if failed else 0)


def predict(args) -> dict:
    """Runs the command; returns the files that could not be read."""
    from rs_mm.apis.paths import check_map, find_images
    from rs_mm.errors import ConfigError
    from rs_mm.rasters import TileSize, check_writable

    check_map(args.map)
    if args.tile is None and (args.stride or args.tiles or args.rasters):
        raise ConfigError('--stride, --tiles and --rasters are for scenes that --tile cuts.')
    if not args.out.lower().endswith('.csv'):
        raise ConfigError(f'--out {args.out}: the name must end in .csv.')
    size = None if args.tile is None else TileSize.parse(args.tile, args.stride)
    thresholds = _thresholds(args.threshold)
    check_writable(args.out.rpartition('/')[0] or '.')
    count = len(find_images(args.images))

    # from here on with torch
    from rs_mm.apis.labels import LabelPredictor
    from rs_mm.apis.labels.files import label_images, label_scenes

    predictor = LabelPredictor(
        args.config, args.checkpoint, args.device, args.cfg_options, args.method, None, thresholds
    )
    common = dict(show_dir=args.show_dir, batch_size=args.batch)
    if size is None:
        failed = label_images(predictor, args.images, args.out, **common)
    else:
        failed = label_scenes(
            predictor, args.images, args.out, size, args.tiles, args.rasters, **common
        )
    for path, reason in failed.items():
        print(f'failed: {path}: {reason}', file=sys.stderr)
    print(f'{count - len(failed)} of {count} files are in {args.out}')
    if args.map:
        from rs_mm.apis.labels.map import labels_map

        labels_map(args.out).save(args.map)
        print(f'The map is {args.map}')
    return failed


def _thresholds(texts):
    from rs_mm.errors import ConfigError

    if not texts:
        return None
    try:
        if len(texts) == 1 and '=' not in texts[0]:
            return float(texts[0])
        pairs = [text.rpartition('=') for text in texts]
        if all(name for name, _, _ in pairs):
            return {name: float(number) for name, _, number in pairs}
    except ValueError:
        pass
    raise ConfigError(f'--threshold {" ".join(texts)}: give one number, or CLASS=NUMBER each.')


if __name__ == '__main__':
    main()
