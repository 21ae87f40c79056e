"""Writes the lists of few-shot episodes from a folder of label maps.

    python tools/dataset_converters/fewshot_lists.py data/farms/masks data/farms/lists \
        --classes pond barn silo --folds 3 --val-share 0.3

A list names each image once for every class that it shows, as NAME__CLASS. Label maps hold 0 for
the background, 1 for the first class, 2 for the second, and 255 for unknown pixels. Images are
divided into training and test at random; if the masks are already divided, give --val-masks.
"""

import argparse
from pathlib import Path


def parse_args():
    parser = argparse.ArgumentParser(description='Write the lists of few-shot episodes')
    parser.add_argument('masks', help='folder of label maps, searched with its subfolders')
    parser.add_argument('out', help='folder for the lists, {trn,val}/fold0.txt and so on')
    parser.add_argument('--classes', nargs='+', required=True, help='names, from number 1 on')
    parser.add_argument(
        '--folds',
        nargs='+',
        default=['1'],
        help='how many folds, or the classes of each fold as pond,barn silo (default: 1)',
    )
    parser.add_argument('--val-masks', help='folder of the label maps for the test')
    parser.add_argument(
        '--val-share',
        type=float,
        default=0.3,
        help='share of the images for the test, without --val-masks (default: 0.3)',
    )
    parser.add_argument(
        '--mask-suffix', default='.png', help='suffix of the label maps (default: .png)'
    )
    parser.add_argument(
        '--min-pixels', type=int, default=1, help='least pixels of a class in an image (default: 1)'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the draw (default: 0)')
    return parser.parse_args()


def run(args):
    """Runs the command."""
    import numpy as np

    from rs_mm.errors import ConfigError
    from rs_mm.files import atomic_write

    if not 0 < args.val_share < 1:
        raise ConfigError(f'--val-share {args.val_share}: give a share between 0 and 1.')
    shown = read_masks(args.masks, args.mask_suffix, len(args.classes), args.min_pixels)
    if args.val_masks:
        split = dict(
            trn=shown,
            val=read_masks(args.val_masks, args.mask_suffix, len(args.classes), args.min_pixels),
        )
    else:
        names = sorted(shown)
        order = np.random.default_rng(args.seed).permutation(len(names))
        held = {names[i] for i in order[: round(args.val_share * len(names))]}
        split = dict(
            trn={name: labels for name, labels in shown.items() if name not in held},
            val={name: labels for name, labels in shown.items() if name in held},
        )
    for part, found in split.items():
        for fold, group in enumerate(_folds(args.folds, args.classes)):
            lines = [
                f'{name}__{label:02d}\n'
                for name, labels in sorted(found.items())
                for label in labels
                if label - 1 in group
            ]
            path = Path(args.out) / part / f'fold{fold}.txt'
            with atomic_write(path, 'w', encoding='utf-8') as file:
                file.writelines(lines)
            names = ', '.join(args.classes[i] for i in group)
            print(f'{path}: {len(lines)} entries ({names})')


def read_masks(folder, suffix, count, min_pixels) -> dict[str, list[int]]:
    """Returns the class numbers in each label map, by name without suffix."""
    import numpy as np

    from rs_mm.datasets.label_maps import IGNORE, read_label_map
    from rs_mm.errors import DataError, MissingFileError

    root = Path(folder)
    if not root.is_dir():
        raise MissingFileError(f'there is no folder {root} of label maps.')
    shown = {}
    for path in sorted(root.rglob(f'*{suffix}')):
        values, numbers = np.unique(read_label_map(path), return_counts=True)
        strange = [value for value in values if value > count and value != IGNORE]
        if strange:
            raise DataError(
                f'{path} holds the class {strange[0]}, but {count} classes were named; name all, '
                'or convert the map.'
            )
        name = str(path.relative_to(root)).removesuffix(suffix)
        shown[name] = [
            int(value)
            for value, pixels in zip(values, numbers)
            if 0 < value <= count and pixels >= min_pixels
        ]
    if not any(shown.values()):
        raise DataError(f'{root}: no file *{suffix} shows a class.')
    return shown


def _folds(folds, classes):
    """Returns the classes of each fold, from 0, as in the dataset."""
    from rs_mm.datasets import FewShotFolders

    named = len(folds) > 1 or not folds[0].isdigit()
    given = [group.split(',') for group in folds] if named else int(folds[0])
    return FewShotFolders.read_folds(given, classes)


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args))


if __name__ == '__main__':
    main()
