"""Predicts the changes between two images, plain pictures or GeoTIFFs, without labels.

    python tools/predict_change.py 2009.tif 2018.tif CONFIG CKPT --out changes/
    python tools/predict_change.py tiles_2009/ tiles_2018/ CONFIG CKPT --out changes/

writes a mask (0 unchanged, 255 changed, 127 no data; a GeoTIFF with the georeference of date 1, or
a PNG if date 1 is a plain picture) and a picture of both dates and the prediction. In two folders,
files with the same name are a pair.
"""

import argparse

from rs_mm.launch.options import add_config_options, add_device


def parse_args():
    parser = argparse.ArgumentParser(
        description='Predict the changes between two images',
        epilog='docs/change_maps.md has examples for each option.',
    )
    parser.add_argument('image1', help='date 1: a file or a folder')
    parser.add_argument('image2', help='date 2, of the same place')
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', help='weights of the model')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write into')
    pixels = parser.add_argument_group('what is read')
    pixels.add_argument(
        '--bands',
        nargs='+',
        type=int,
        metavar='N',
        help='bands to take, counted from 0: red, green, blue for a model of colour images '
        "(default: the first three), as the config's loader lists them for any other",
    )
    pixels.add_argument(
        '--value-range',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help="values that become 0 and 255 (default: as the config's loader does; a model of "
        'colour images takes 8-bit images as they are, others from the 2nd to the 98th percentile)',
    )
    pixels.add_argument(
        '--align',
        choices=['none', 'ground', 'resample', 'crop'],
        default='none',
        help='resample: put date 2 on the grid of date 1, whatever its coordinate system, pixel '
        'and rotation; ground: cut both to the ground they share; crop: cut both to the smaller '
        'height and width from the upper left corner (default: dates on other grids are refused)',
    )
    folders = parser.add_argument_group('folders')
    folders.add_argument(
        '--pattern1',
        metavar='NAME*',
        help='files of date 1; what the * stands for ties a pair together, e.g. *_2009.tif',
    )
    folders.add_argument('--pattern2', metavar='NAME*', help='files of date 2')
    folders.add_argument('--overwrite', action='store_true', help='predict finished pairs again')
    model = parser.add_argument_group('how it is predicted')
    model.add_argument(
        '--tile', type=int, default=768, help='largest side predicted at once (default: 768)'
    )
    model.add_argument(
        '--overlap', type=int, default=192, help='pixels that tiles share (default: 192)'
    )
    model.add_argument(
        '--batch', type=int, default=1, help='number of tiles predicted together (default: 1)'
    )
    model.add_argument(
        '--threshold',
        type=float,
        help='pixels whose probability of change is above are changed (default: the most '
        'probable class)',
    )
    model.add_argument(
        '--resize',
        action='store_true',
        help="resize as the config's test pipeline does (default: predict at the "
        "images' own resolution)",
    )
    model.add_argument(
        '--resume',
        action='store_true',
        help='continue a stopped run after its finished tiles',
    )
    outputs = parser.add_argument_group('what is written')
    outputs.add_argument(
        '--probability',
        nargs='?',
        const='float32',
        choices=['float32', 'uint8'],
        help='also write the probability of change: 0 to 1 as float32, or 0 to 250 as uint8',
    )
    outputs.add_argument(
        '--polygons',
        metavar='FILE',
        help='also write the changes as polygons: a .gpkg, .geojson or .parquet file, or only '
        'such a suffix for one file per pair',
    )
    outputs.add_argument(
        '--min-area',
        type=float,
        default=0.0,
        metavar='M2',
        help='no polygons below so many square metres (pixels without georeference)',
    )
    outputs.add_argument(
        '--simplify',
        type=float,
        default=0.0,
        metavar='TOLERANCE',
        help='simplify the outlines, in units of the coordinate system (default: 0, not at all)',
    )
    outputs.add_argument('--cog', action='store_true', help='write cloud-optimised GeoTIFFs (COG)')
    outputs.add_argument(
        '--map', metavar='FILE.html', help='a map of all pairs in one page that opens offline'
    )
    add_device(parser)
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: predict(args), args)


def predict(args):
    """Runs the command."""
    from rs_mm.apis.change.folders import check_before, find_pairs, predict_pairs
    from rs_mm.apis.change.outputs import OutputOptions
    from rs_mm.apis.paths import check_map
    from rs_mm.rasters import Tiling

    check_map(args.map)
    options = OutputOptions(args.probability, args.polygons, args.min_area, args.simplify, args.cog)
    pairs = find_pairs(args.image1, args.image2, args.pattern1, args.pattern2)
    Tiling(1, 1, args.tile, args.overlap)
    check_before(pairs, args.config, args.checkpoint, args.out, options)

    # torch is needed from here on
    from rs_mm.apis.change.detector import ChangeDetector
    from rs_mm.apis.change.files import identity, predict_files

    detector = ChangeDetector(
        args.config,
        args.checkpoint,
        device=args.device,
        options=args.cfg_options,
        resize=args.resize,
        tile=args.tile,
        overlap=args.overlap,
        batch=args.batch,
        threshold=args.threshold,
    )
    reading = dict(bands=args.bands, value_range=args.value_range, align=args.align)

    def one(pair):
        return predict_files(
            detector,
            pair.first,
            pair.second,
            args.out,
            options=options,
            stem=pair.name,
            resume=args.resume,
            progress=True,
            **reading,
        )

    if not _is_folder(args.image1):
        result = one(pairs[0])
        for note in result.notes:
            print(f'note: {note}')
        print('\n'.join(f'wrote {path}' for path in result.written))
        print(_figures(result), flush=True)
        _write_map(args, pairs, options)
        return
    failed = predict_pairs(
        pairs,
        args.out,
        one,
        lambda pair: identity(detector, pair.first, pair.second, **reading),
        options,
        args.overwrite,
    )
    _write_map(args, pairs, options)
    if failed:
        raise SystemExit(1)


def _write_map(args, pairs, options):
    """Puts all pairs with a mask, with both dates, on one map."""
    from pathlib import Path

    from rs_mm.apis.change.outputs import output_paths
    from rs_mm.apis.mask_maps import MappedMask, mask_map
    from rs_mm.rasters import describe

    if not args.map:
        return
    masks = []
    for pair in pairs:
        placed = describe(pair.first).georeferenced if pair.first.is_file() else False
        path = output_paths(Path(args.out) / pair.name, pair.first, placed, options)['mask']
        if path.is_file():
            dates = {'date 1': pair.first, 'date 2': pair.second}
            masks.append(MappedMask(path, dates, pair.name, blank=(127,)))
    mask_map('Changes', masks, {255: 'changed'}).save(args.map)
    print(f'wrote {args.map}')


def _is_folder(path):
    import os

    return os.path.isdir(path)


def _figures(result):
    found, pixels = result.summary, result.summary.patches
    area = found.changed_area_m2
    text = f'{found.changed_share:.1%} changed, {pixels} patches'
    text += f', {area / 1e4:,.1f} ha' if area == area else ''
    if found.valid_share < 1:
        text += f'; {1 - found.valid_share:.1%} of the pixels hold no data'
    return f'{text}; {result.seconds:.1f} s ({result.times.shares()})'


if __name__ == '__main__':
    main()
