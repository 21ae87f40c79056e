"""Cuts a large georeferenced pair and its labels into training tiles.

    python tools/dataset_converters/tile_pairs.py 2009.tif 2018.tif changes.gpkg data/mine

writes data/mine/{train,val,test}/{A,B,label}/ROW_COLUMN.tif, all georeferenced, and prints the
lines of a config that reads them. The label is a raster of classes or a file of polygons. The area
is split in blocks; --gap keeps a distance between tiles of different splits.
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description='Cut a georeferenced pair into training tiles')
    parser.add_argument('date1', help='raster of date 1')
    parser.add_argument('date2', help='raster of date 2')
    parser.add_argument(
        'label', help='raster of classes (0 and 255, or 0, 1, 2, ...), or polygons of the changes'
    )
    parser.add_argument('out', help='folder to write into')
    parser.add_argument('--tile', type=int, default=256, help='side in pixels (default: 256)')
    parser.add_argument('--stride', type=int, help='distance of tiles (default: the tile)')
    parser.add_argument(
        '--split',
        nargs=3,
        type=float,
        default=[0.7, 0.15, 0.15],
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='shares of the area (default: 0.7 0.15 0.15)',
    )
    parser.add_argument(
        '--block', type=int, help='side of the blocks of the split (default: four tiles)'
    )
    parser.add_argument(
        '--gap',
        type=int,
        default=0,
        help='least number of pixels between tiles of different splits (default: 0)',
    )
    parser.add_argument(
        '--min-valid',
        type=float,
        default=0.5,
        help='least share of pixels with data and a label (default: 0.5)',
    )
    parser.add_argument('--class-field', help='attribute of the polygons with the class number')
    parser.add_argument('--bands', nargs='+', type=int, metavar='N', help='bands from 0')
    parser.add_argument(
        '--align', choices=['none', 'ground', 'resample', 'crop'], default='none',
        help='how date 2 is put on the grid of date 1, as in predict_change.py',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, default=0, help='seed of the split (default: 0)')
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: cut(args))


def cut(args):
    """Runs the command."""
    from rs_mm.converters.tile_pairs import TileOptions, config_lines, tile_pairs

    options = TileOptions(
        tile=args.tile,
        stride=args.stride or args.tile,
        shares=tuple(args.split),
        block=args.block or 4 * args.tile,
        gap=args.gap,
        min_valid=args.min_valid,
        class_field=args.class_field,
        bands=args.bands,
        align=args.align,
        seed=args.seed,
    )
    report = tile_pairs(args.date1, args.date2, args.label, args.out, options)
    print(report)
    print('\n' + config_lines(report, args.out))


if __name__ == '__main__':
    main()
