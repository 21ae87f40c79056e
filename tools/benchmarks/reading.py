"""Compares the reader of pictures with the plain decoders that it stands on, in one process.

Both read the same generated file in turns, so that whatever else the machine does hits both. The
figures are processor time per file.

    python tools/benchmarks/reading.py
"""

import argparse
import tempfile
import time
from pathlib import Path


def parse_args():
    parser = argparse.ArgumentParser(description='rs_mm.datasets.pictures against plain decoders')
    parser.add_argument(
        '--rounds', type=int, default=10, help='turns of each, of 20 reads (default: 10)'
    )
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args.rounds))


def run(rounds):
    with tempfile.TemporaryDirectory() as folder:
        print(f'{"file":26} {"ours, ms":>9} {"plain, ms":>10} {"ratio":>6}')
        for name, path, ours, plain in cases(Path(folder)):
            ours(path), plain(path)
            spent = [0.0, 0.0]
            for _ in range(rounds):
                for i, read in enumerate((ours, plain)):
                    start = time.process_time()
                    for _ in range(20):
                        read(path)
                    spent[i] += time.process_time() - start
            first, second = (1e3 * seconds / (20 * rounds) for seconds in spent)
            print(f'{name:26} {first:9.2f} {second:10.2f} {first / second:6.2f}')


def cases(folder):
    """Name, path, our reader and the plain one of each kind of file."""
    import cv2
    import numpy as np
    import tifffile
    from PIL import Image

    from rs_mm.datasets.label_maps import read_label_map
    from rs_mm.datasets.pictures import read_picture, read_rgb

    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 244, (40, 40, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((512, 512), Image.Resampling.BICUBIC)).astype(int)
    image = (smooth + rng.integers(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
    mask = (image[..., 0] > 128).astype(np.uint8)
    bands = np.repeat(image[:256, :256, :1], 13, axis=2).astype(np.uint16) * 9

    def save(name, **options):
        Image.fromarray(mask if name == 'mask.png' else image).save(folder / name, **options)
        return str(folder / name)

    def tiff(name, array, **options):
        options.setdefault('photometric', 'minisblack')
        tifffile.imwrite(folder / name, array, **options)
        return str(folder / name)

    def opencv(path):
        return cv2.cvtColor(cv2.imread(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def pillow(path):
        return np.asarray(Image.open(path).convert('RGB'))

    png, jpeg = save('a.png'), save('a.jpg', quality=92)
    yield 'PNG, 512 RGB', png, read_picture, opencv
    yield 'PNG, 512 RGB, Pillow', png, read_rgb, pillow
    label = save('mask.png')
    yield 'PNG, 512 label', label, read_label_map, lambda path: np.asarray(Image.open(path))
    yield 'JPEG, 512 RGB, OpenCV', jpeg, read_picture, opencv
    yield 'JPEG, 512 RGB, Pillow', jpeg, read_rgb, pillow
    colours = dict(photometric='rgb')
    packed = tiff('a.tif', image, compression='deflate', **colours)
    yield 'TIFF, 512 RGB, deflate', packed, read_picture, tifffile.imread
    yield 'TIFF, 512 RGB', tiff('b.tif', image, **colours), read_picture, tifffile.imread
    many = tiff('c.tif', bands, planarconfig='contig')
    yield 'TIFF, 256, 13 of 16 bits', many, read_picture, tifffile.imread
    band = tiff('d.tif', np.ascontiguousarray(bands[:120, :120, 0]))
    yield 'TIFF, 120, one of 16 bits', band, read_picture, tifffile.imread


if __name__ == '__main__':
    main()
