"""Computes figures of each band over rasters, and the config lines with them.

    python tools/analysis_tools/dataset_statistics.py data/train/A data/train/B

prints mean, standard deviation and percentiles over the pixels that hold data, and the lines for
`data_preprocessor` to paste. Large files are read from their overviews. The exit status is 1 if a
file could not be read.
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description='Figures of each band over rasters')
    parser.add_argument('paths', nargs='+', help='files, or folders of images')
    parser.add_argument('--pattern', default='*', help='names in the folders, e.g. *_2018.tif')
    parser.add_argument(
        '--bands', nargs='+', type=int, metavar='N', help='bands from 0 (default: all but alpha)'
    )
    parser.add_argument(
        '--value-range',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help='values that first become 0 and 255, as value_range of MultiImgLoadTiff',
    )
    parser.add_argument('--out', metavar='FILE', help='write the figures as JSON')
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: show(args))


def show(args):
    """Prints the table and the lines."""
    from rs_mm.analysis.raster_statistics import (
        as_json,
        band_statistics,
        config_lines,
        format_statistics,
        image_files,
    )
    from rs_mm.files import write_json

    found = band_statistics(image_files(args.paths, args.pattern), args.bands, args.value_range)
    print(format_statistics(found))
    print('\n' + config_lines(found, args.value_range))
    if args.out:
        write_json(args.out, as_json(found))
    if found.failed:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
