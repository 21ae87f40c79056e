"""Measures the prediction of a large generated pair: memory, speed, and where the time goes.

    python tools/benchmarks/change_scene.py CONFIG CHECKPOINT --side 12000 --folder /tmp/scene

makes two GeoTIFFs of SIDE x SIDE pixels with a border that holds no data, predicts them as
tools/predict_change.py does, and prints one line of JSON. It writes about 10 bytes per pixel.
"""

import argparse
import json
import resource
import time
from pathlib import Path

from rs_mm.launch.options import add_config_options


def parse_args():
    parser = argparse.ArgumentParser(description='Measure the prediction of a large pair')
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', nargs='?', help='its weights (default: random ones)')
    parser.add_argument('--side', type=int, default=12000, help='pixels (default: %(default)s)')
    parser.add_argument('--folder', required=True, help='folder for the pair and the map')
    parser.add_argument('--tile', type=int, default=768)
    parser.add_argument('--overlap', type=int, default=192)
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: print(json.dumps(measure(args))))


def make_pair(folder, side):
    """Writes two dates of repeated noise at several scales, strip by strip; returns their paths."""
    import numpy as np
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    rng = np.random.default_rng(0)
    base = rng.integers(30, 226, (64, 64, 3)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
    base[200:300, 300:500] = 240
    paths = []
    for date in (1, 2):
        path = Path(folder) / f'date{date}.tif'
        paths.append(path)
        if path.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        profile = dict(
            driver='GTiff', height=side, width=side, count=3, dtype='uint8', nodata=0,
            crs='EPSG:32650', transform=from_origin(500000, 4000000, 1, 1), photometric='rgb',
            tiled=True, blockxsize=512, blockysize=512, compress='deflate', zlevel=1,
        )  # fmt: skip
        with rasterio.open(path, 'w', **profile) as file:
            for top in range(0, side, 1024):
                rows = min(1024, side - top)
                strip = np.tile(base, (1, -(-side // 1024), 1))[:rows, :side].copy()
                strip = strip // 2 + rng.integers(1, 20, strip.shape, np.uint8)
                if date == 2:
                    strip[100:180, 100::1024] = 250
                strip[:, : side // 20] = 0  # a border without data
                file.write(strip.transpose(2, 0, 1), window=Window(0, top, side, rows))
    return paths


def measure(args):
    """Returns the figures as a dict."""
    from rs_mm.apis.change.detector import ChangeDetector
    from rs_mm.apis.change.files import predict_files
    from rs_mm.apis.change.outputs import OutputOptions

    paths = make_pair(args.folder, args.side)
    detector = ChangeDetector(
        args.config,
        args.checkpoint,
        device='cpu',
        options=args.cfg_options,
        tile=args.tile,
        overlap=args.overlap,
    )
    start, cpu = time.perf_counter(), time.process_time()
    result = predict_files(
        detector,
        *paths,
        Path(args.folder) / 'out',
        options=OutputOptions(probability='uint8', polygons='.gpkg'),
        progress=True,
    )
    seconds = time.perf_counter() - start
    return dict(
        side=args.side,
        seconds=round(seconds, 1),
        cpu_seconds=round(time.process_time() - cpu, 1),
        pixels_per_second=round(args.side**2 / seconds),
        peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        shares=result.times.shares(),
        changed_share=result.summary.changed_share,
        patches=result.summary.patches,
    )


if __name__ == '__main__':
    main()
