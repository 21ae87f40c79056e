"""Cuts iSAID's scenes into the patches of iSAID-5i.

    python tools/dataset_converters/isaid_patches.py data/iSAID_full data/iSAID --workers 8

The source has ``{train,val}/images/P0003.png`` with the semantic colour masks
``P0003_instance_color_RGB.png`` beside the images or in ``{train,val}/Semantic_masks/images``.
Patches are 256 x 256 at a stride of 206 (overlap 50); the last ones are moved back to the border.
They are named ``P0003_y0_y1_x0_x1``, and their masks hold class numbers 0 to 15. A scene smaller
than a patch is padded: the image with 0, the mask with 255 (ignored).
"""

import argparse

SIZE, OVERLAP = 256, 50
# RGB of the published colour masks, classes 0 (background) to 15
COLOURS = (
    (0, 0, 0),
    (0, 0, 63),
    (0, 63, 63),
    (0, 63, 0),
    (0, 63, 127),
    (0, 63, 191),
    (0, 63, 255),
    (0, 127, 63),
    (0, 127, 127),
    (0, 0, 127),
    (0, 0, 191),
    (0, 0, 255),
    (0, 191, 127),
    (0, 127, 191),
    (0, 127, 255),
    (0, 100, 155),
)
MASK = '_instance_color_RGB.png'


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('src', help='iSAID with whole scenes')
    parser.add_argument('dst', help='folder to write iSAID-5i into')
    parser.add_argument('--splits', nargs='+', default=['train', 'val'], choices=['train', 'val'])
    parser.add_argument(
        '--listed-only',
        action='store_true',
        help='write only the patches that the published lists name',
    )
    parser.add_argument('--workers', type=int, default=1, help='processes')
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: convert(args.src, args.dst, args.splits, args.listed_only, args.workers))


def starts(length, size=SIZE, overlap=OVERLAP):
    """Returns the starts of patches along an axis; the last patch ends at the border."""
    if length <= size:
        return [0]
    steps = range(0, length - overlap, size - overlap)
    return sorted({min(start, length - size) for start in steps})


def class_numbers(colours, path):
    """Converts an (H, W, 3) colour mask to (H, W) class numbers.

    Raises:
        DataError: a colour has no class; the message names it.
    """
    import numpy as np

    from rs_mm.errors import DataError

    # one number for each colour, looked up in a sorted table
    keys = np.array([(r << 16) | (g << 8) | b for r, g, b in COLOURS])
    order = np.argsort(keys)
    wide = colours.astype(np.int64)
    codes = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    place = np.searchsorted(keys[order], codes).clip(max=len(keys) - 1)
    found = order[place]
    wrong = keys[found] != codes
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        raise DataError(
            f'the mask {path} has the colour {tuple(colours[y, x].tolist())} at row '
            f'{y}, column {x}, which is not a class of iSAID; is it the instance id mask?'
        )
    return found.astype(np.uint8)


def convert(src, dst, splits, listed_only, workers):
    """Cuts all scenes of the splits, in ``workers`` processes."""
    from pathlib import Path

    from tqdm import tqdm

    from rs_mm.errors import MissingFileError

    jobs = []
    for split in splits:
        folder = Path(src) / split / 'images'
        scenes = [p for p in sorted(folder.glob('P*.png')) if '_instance_' not in p.name]
        if not scenes:
            raise MissingFileError(f'there are no scenes P*.png in {folder}.')
        listed = _listed(split) if listed_only else None
        jobs += [(scene, _mask_of(scene, split), Path(dst) / split, listed) for scene in scenes]
    patches = 0
    for count in tqdm(_run(jobs, workers), total=len(jobs), unit='scene'):
        patches += count
    print(f'{len(jobs)} scenes, {patches} patches -> {dst}')


def _run(jobs, workers):
    if workers <= 1:
        yield from map(_cut, jobs)
        return
    from multiprocessing import get_context

    with get_context('spawn').Pool(workers) as pool:
        yield from pool.imap_unordered(_cut, jobs)


def _listed(split):
    from rs_mm.datasets.episodes import PACKED, read_entries

    folder = PACKED / 'isaid' / ('trn' if split == 'train' else 'val')
    return {name for path in folder.iterdir() for name, _ in read_entries(path)}


def _mask_of(scene, split):
    from rs_mm.errors import MissingFileError

    root = scene.parents[1]
    places = [scene.parent, root / 'Semantic_masks' / 'images', root / 'semantic_png']
    for folder in places:
        path = folder / f'{scene.stem}{MASK}'
        if path.is_file():
            return path
    raise MissingFileError(
        f'there is no mask {scene.stem}{MASK} for {scene}; looked in {", ".join(map(str, places))}.'
    )


def _cut(job):
    import numpy as np

    from rs_mm.datasets.pictures import read_rgb
    from rs_mm.errors import DataError
    from rs_mm.visualization.sheet import save_sheet

    scene, mask_path, out, listed = job
    image, colours = read_rgb(scene), read_rgb(mask_path)
    if image.shape != colours.shape:
        raise DataError(
            f'{scene} is {image.shape[1]} x {image.shape[0]}, but its mask {mask_path} '
            f'is {colours.shape[1]} x {colours.shape[0]}.'
        )
    label = class_numbers(colours, mask_path)
    pad = [(0, max(0, SIZE - side)) for side in label.shape]
    image = np.pad(image, [*pad, (0, 0)])
    label = np.pad(label, pad, constant_values=255)
    count = 0
    for y in starts(label.shape[0]):
        for x in starts(label.shape[1]):
            name = f'{scene.stem}_{y}_{y + SIZE}_{x}_{x + SIZE}'
            if listed is not None and name not in listed:
                continue
            window = slice(y, y + SIZE), slice(x, x + SIZE)
            for part, path in (
                (image, f'images/{name}.png'),
                (label, f'semantic_png/{name}{MASK}'),
            ):
                save_sheet(out / path, part[window])
            count += 1
    return count


if __name__ == '__main__':
    main()
