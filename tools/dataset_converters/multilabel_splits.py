"""Writes the split files of a multi-label set: {train,val,test}.csv, `name,0/1,...` per row, below
a header with the names of the classes.

    python tools/dataset_converters/multilabel_splits.py ucm data/UCM
    python tools/dataset_converters/multilabel_splits.py aid data/AID --by-folder

The random 70/10/20 split with seed 24 is the published one of UCM and WHDLD. AID's follows its
folders `train` and `test` (or `images_tr` and `images_test`) and has no validation list.
"""

import argparse
from pathlib import Path


def parse_args():
    parser = argparse.ArgumentParser(description='Write split files of a multi-label set')
    parser.add_argument(
        'table',
        help='ucm, aid, dfc15 (tables packed with rs_mm), or a label '
        'table with the header `image,<class>,...`',
    )
    parser.add_argument('root', help='folder of the set; the files are written there')
    parser.add_argument(
        '--seed', type=int, default=24, help='seed of the random split (default: 24)'
    )
    parser.add_argument(
        '--by-folder',
        action='store_true',
        help='split by the folders of the images, not at random',
    )
    return parser.parse_args()


def run(args):
    from rs_mm.datasets.label_tables import read_label_table, write_split_file
    from rs_mm.datasets.splits import folder_split, random_split
    from rs_mm.errors import MissingFileError

    if not Path(args.root).is_dir():
        raise MissingFileError(
            f'there is no folder {args.root}; give the one that holds the images of the set.'
        )
    table = read_label_table(args.table)
    if args.by_folder:
        splits = folder_split(args.root, table.names)
    else:
        splits = random_split(len(table.names), args.seed)
    for split, rows in splits.items():
        path = Path(args.root) / f'{split}.csv'
        names = [table.names[row] for row in rows]
        write_split_file(path, names, table.labels[rows], table.classes)
        print(f'{path}: {len(rows)} images')


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args))


if __name__ == '__main__':
    main()
