"""Cuts WHU-CD's large images into tiles: whu_cd_tiles.py SOURCE OUT.

    python tools/dataset_converters/whu_cd_tiles.py data/WHU-CD-full data/WHU-CD

SOURCE holds the published pair: {train,test}/{before,after,label}.tif with any names that contain
2012 or before, 2016 or after, and label or change. Writes OUT/{A,B,label}/NAME.png and
OUT/list/{train,val,test}.txt; a seeded tenth of the training tiles is for validation.
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description="Cut WHU-CD's large images into tiles")
    parser.add_argument('source', help='folder with train/ and test/, each with three images')
    parser.add_argument('out', help='folder to write into')
    parser.add_argument('--tile', type=int, default=256, help='side (default: %(default)s)')
    parser.add_argument(
        '--val', type=float, default=0.1, help='share of the training tiles (default: %(default)s)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the draw (default: %(default)s)'
    )
    return parser.parse_args()


def run(args):
    from rs_mm.converters.whu_cd import cut_whu_cd

    for split, count in cut_whu_cd(args.source, args.out, args.tile, args.val, args.seed).items():
        print(f'{split}: {count} tiles')


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args))


if __name__ == '__main__':
    main()
