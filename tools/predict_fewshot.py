"""Finds a class that a few images with masks define in other images and scenes.

    python tools/predict_fewshot.py CONFIG CKPT --support TANK1.png MASK1.png \
        --support TANK2.png MASK2.png --query HARBOUR.tif --out found/

No labels and no dataset layout are needed. Scenes are cut into tiles that show as much as a
support. Georeferenced images give GeoTIFFs and polygons; summary.csv lists areas and scores.
"""

import argparse
import sys

from rs_mm.launch.options import add_config_options, add_device


def parse_args():
    parser = argparse.ArgumentParser(description='Find a class that a few images with masks define')
    parser.add_argument('config', help='config of configs/sccnet')
    parser.add_argument('checkpoint', help='weights of the model')
    parser.add_argument(
        '--support',
        nargs=2,
        action='append',
        metavar=('IMAGE', 'MASK'),
        help='an example: an image, and its mask as a picture or as polygons (.gpkg, .geojson) '
        'over a georeferenced image; give it several times for several examples',
    )
    parser.add_argument(
        '--fitted', metavar='FILE', help='file of --save-fitted, instead of --support'
    )
    parser.add_argument('--save-fitted', metavar='FILE', help='store the examples in this file')
    parser.add_argument(
        '--class',
        dest='class_value',
        metavar='N',
        help='number of the class in the masks, or its colour as R,G,B (default: all but 0)',
    )
    parser.add_argument(
        '--class-name', default='object', help='name for pictures and polygons (default: object)'
    )
    parser.add_argument(
        '--query', nargs='+', metavar='PATH', help='images, folders or scenes to search'
    )
    parser.add_argument('--out', metavar='DIR', help='folder to write into')
    parser.add_argument(
        '--scale',
        default='auto',
        help='size of a pixel of the scene divided by that of a support (default: auto, from the '
        'georeferences where both have one, else 1)',
    )
    parser.add_argument('--tile', type=int, help='side of a tile in pixels, instead of --scale')
    parser.add_argument(
        '--overlap', type=int, help='pixels that tiles share (default: a quarter of the tile)'
    )
    parser.add_argument(
        '--whole', action='store_true', help='never cut: resize every image as the config does'
    )
    parser.add_argument(
        '--bands',
        nargs=3,
        type=int,
        metavar=('R', 'G', 'B'),
        help='bands of rasters for red, green and blue, counted from 0',
    )
    parser.add_argument(
        '--polygons',
        default='.gpkg',
        choices=['.gpkg', '.geojson', '.parquet'],
        help='format of the polygons of georeferenced images (default: .gpkg)',
    )
    parser.add_argument(
        '--min-area',
        type=float,
        default=0.0,
        help='leave out polygons with a smaller area in square metres',
    )
    parser.add_argument(
        '--map', metavar='FILE.html', help='a map of the results, which opens offline'
    )
    parser.add_argument(
        '--batch', type=int, default=4, help='number of tiles computed together (default: 4)'
    )
    parser.add_argument('--overwrite', action='store_true', help='compute finished images anew')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='continue an interrupted scene after its finished tiles',
    )
    add_device(parser)
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    failed = []
    run_cli(lambda: failed.extend(predict(args)), args)
    sys.exit(1 if failed else 0)


def predict(args) -> list:
    """Runs the command; returns the rows that failed."""
    from rs_mm.apis.paths import check_map, check_supports, find_queries
    from rs_mm.errors import ConfigError
    from rs_mm.rasters import check_writable

    check(args)
    check_map(args.map)
    check_supports([*(args.support or ()), *([[args.fitted]] if args.fitted else [])])
    if args.query:
        find_queries(args.query)
        check_writable(args.out)
    scale = args.scale if args.scale == 'auto' else _number(args.scale)

    # from here on with torch
    from rs_mm.apis.few_shot import FewShotSegmenter
    from rs_mm.apis.few_shot.files import segment_files
    from rs_mm.apis.few_shot.scenes import TilePlan

    plan = TilePlan(args.tile, args.overlap, scale, args.whole, args.batch)
    segmenter = FewShotSegmenter(
        args.config, args.checkpoint, args.device, args.cfg_options, args.bands
    )
    if args.fitted:
        segmenter.load(args.fitted)
    else:
        images, masks = (list(paths) for paths in zip(*args.support))
        segmenter.fit(images, masks, _class_value(args.class_value), args.class_name)
    if args.save_fitted:
        segmenter.save(args.save_fitted)
        print(f'wrote {args.save_fitted}')
    if not args.query:
        return []
    rows = segment_files(
        segmenter,
        args.query,
        args.out,
        plan,
        args.overwrite,
        args.resume,
        progress=True,
        polygons=args.polygons,
        min_area=args.min_area,
    )
    for row in rows:
        share = f'{row.share:8.2%}' if row.share != '' else ' ' * 8
        print(f'{row.status:6} {share}  {row.image}  {row.reason}'.rstrip())
    if not rows:
        raise ConfigError('nothing was searched.')
    print(f'The summary is {args.out}/summary.csv')
    if args.map:
        _write_map(args)
    return [row for row in rows if row.status == 'failed']


def _write_map(args) -> None:
    """Puts every image with a mask on one map."""
    from pathlib import Path

    from rs_mm.apis.mask_maps import MappedMask, mask_map
    from rs_mm.apis.paths import find_queries

    masks = []
    for path, name in find_queries(args.query):
        for suffix in ('tif', 'png'):
            mask = Path(args.out) / f'{name}_mask.{suffix}'
            if mask.is_file():
                masks.append(MappedMask(mask, {'image': path}, name))
                break
    mask_map(args.class_name, masks, {1: args.class_name, 255: args.class_name}).save(args.map)
    print(f'wrote {args.map}')


def check(args) -> None:
    """Checks that options that belong together are given."""
    from rs_mm.errors import ConfigError

    if bool(args.support) == bool(args.fitted):
        raise ConfigError('give the examples either by --support IMAGE MASK or by --fitted FILE.')
    if not args.query and not args.save_fitted:
        raise ConfigError('give images to search by --query, or a file by --save-fitted.')
    if args.query and not args.out:
        raise ConfigError('give the folder to write into by --out.')


def _class_value(text):
    from rs_mm.errors import ConfigError

    if text is None:
        return None
    numbers = text.split(',')
    if not all(number.strip().isdigit() for number in numbers) or len(numbers) not in (1, 3):
        raise ConfigError(f'--class {text}: give one number, or a colour as R,G,B.')
    return int(text) if len(numbers) == 1 else tuple(map(int, numbers))


def _number(text):
    from rs_mm.errors import ConfigError

    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f'--scale {text}: give a number or auto.') from error


if __name__ == '__main__':
    main()
