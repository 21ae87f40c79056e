"""Runs an exported model with only onnxruntime, numpy and rasterio, without torch.

    python tools/run_exported.py EXPORT BEFORE.tif AFTER.tif --out changes/
    python tools/run_exported.py EXPORT IMAGE... --support TANK.png MASK.png --out masks/
    python tools/run_exported.py EXPORT IMAGE... --out vectors/
    python tools/run_exported.py EXPORT ARCHIVE/ --query X.png --text "with boats" --out found/

EXPORT is a folder of tools/export.py. A change detector writes a mask for the pair, or for the
pairs with equal names in two folders. A few-shot segmenter writes a mask per image. An embedder
writes embeddings.npy and names.txt, with classes also labels.csv, and with a query also
ranking.csv.
"""

import argparse
import sys
from pathlib import Path

_SUFFIXES = ('.tif', '.tiff', '.png', '.jpg', '.jpeg', '.bmp', '.jp2', '.vrt')


def parse_args():
    parser = argparse.ArgumentParser(description='Run an exported model without torch')
    parser.add_argument('export', help='folder written by tools/export.py')
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='images or folders')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write into')
    parser.add_argument('--threads', type=int, help='CPU threads (default: one for each core)')
    change = parser.add_argument_group('change detection')
    change.add_argument(
        '--align', choices=['none', 'crop', 'ground', 'resample'], default='none',
        help='how the two dates are put on one grid (default: they must share a grid)',
    )  # fmt: skip
    change.add_argument('--bands', nargs=3, type=int, metavar=('R', 'G', 'B'))
    change.add_argument('--value-range', nargs=2, type=float, metavar=('LOW', 'HIGH'))
    change.add_argument('--tile', type=int, default=1024, help='side of blended tiles')
    change.add_argument('--overlap', type=int, default=256, help='pixels that tiles share')
    change.add_argument(
        '--probability', action='store_true', help='also write the probability, as float32'
    )
    few_shot = parser.add_argument_group('few-shot segmentation')
    few_shot.add_argument(
        '--support', nargs=2, action='append', default=[], metavar=('IMAGE', 'MASK'),
        help='an example; its mask is not 0 at the class; repeat for more',
    )  # fmt: skip
    search = parser.add_argument_group('embedding and search')
    search.add_argument('--query', metavar='IMAGE', help='rank the inputs by this image')
    search.add_argument('--text', help='rank the inputs by this text, or by both')
    search.add_argument('--lam', type=float, default=0.5, help='share of the text, 0 to 1')
    search.add_argument('-k', type=int, default=10, help='images to list')
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.errors import RSMMError

    try:
        failed = run(args)
    except (RSMMError, OSError) as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        sys.exit(2)
    sys.exit(1 if failed else 0)


def run(args) -> int:
    """Runs the task of the export; reports each failed input and returns their number."""
    from rs_mm.exported import open_export

    runner = open_export(args.export, args.threads)
    task = runner.model.task
    if task == 'change':
        return _change(runner, args)
    images = list_images(args.inputs)
    if task == 'few_shot':
        if args.support:
            runner.fit(*zip(*args.support))
        return _each(images, lambda image: runner.files(image, args.out))
    return _vectors(runner, images, args)


def _change(runner, args):
    from rs_mm.errors import ConfigError
    from rs_mm.exported.change import find_pairs

    if len(args.inputs) != 2:
        raise ConfigError(f'a change detector takes two dates, but {len(args.inputs)} inputs came.')
    options = dict(
        align=args.align,
        bands=args.bands,
        value_range=args.value_range,
        tile=args.tile,
        overlap=args.overlap,
        probability=args.probability,
    )
    pairs = find_pairs(*args.inputs)
    return _each(pairs, lambda pair: runner.files(*pair, args.out, **options))


def _each(items, work):
    """Does the work for every item; a bad item is reported, and the others are processed."""
    from rs_mm.errors import RSMMError

    failed = 0
    for item in items:
        try:
            print('\n'.join(f'wrote {path}' for path in work(item)), flush=True)
        except (RSMMError, OSError) as error:
            if len(items) == 1:
                raise
            failed += 1
            print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
    return failed


def _vectors(runner, images, args):
    import numpy as np

    from rs_mm.errors import RSMMError
    from rs_mm.exported.vectors import write_labels, write_ranking
    from rs_mm.files import atomic_write

    vectors, scores, names, failed = [], [], [], 0
    for image in images:
        try:
            vector, score = runner.embed([image])
        except (RSMMError, OSError) as error:
            if len(images) == 1:
                raise
            failed += 1
            print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
            continue
        names.append(str(image))
        vectors.append(vector)
        scores.append(score)
    if not names:
        return failed
    vectors = np.concatenate(vectors)
    scores = None if scores[0] is None else np.concatenate(scores)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / 'embeddings.npy') as file:
        np.save(file, vectors)
    with atomic_write(out / 'names.txt', 'w', encoding='utf-8') as file:
        file.writelines(f'{name}\n' for name in names)
    written = ['embeddings.npy', 'names.txt']
    if runner.model.info.get('labels'):
        classes = runner.model.classes
        write_labels(out / 'labels.csv', names, classes, *runner.labels_of(vectors, scores))
        written.append('labels.csv')
    if args.query or args.text:
        rows, found = runner.rank(vectors, args.query, args.text, args.lam, args.k)
        write_ranking(out / 'ranking.csv', names, rows, found)
        written.append('ranking.csv')
    print('\n'.join(f'wrote {out / name}' for name in written))
    return failed


def list_images(inputs) -> list[Path]:
    """Returns the given files, and all images below the given folders, sorted.

    Raises:
        MissingFileError, DataError: a path does not exist, or there is no image.
    """
    from rs_mm.errors import DataError, MissingFileError

    found = []
    for item in map(Path, inputs):
        if item.is_dir():
            found += sorted(p for p in item.rglob('*') if p.suffix.lower() in _SUFFIXES)
        elif item.is_file():
            found.append(item)
        else:
            raise MissingFileError(f'there is no image {item}.')
    if not found:
        raise DataError(f'{", ".join(map(str, inputs))}: there is no image in it.')
    return found


if __name__ == '__main__':
    main()
