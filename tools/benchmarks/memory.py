"""Peak memory of the loops that promise a bound, over their sizes, each in a fresh process.

    python tools/benchmarks/memory.py
    python tools/benchmarks/memory.py knn sndl --out memory.json

Each line is one loop. What grows are the numbers beside it: queries, rows of a memory, pairs, the
side of an image, supports, files. The figure is the highest resident memory beyond what the process
held when its inputs were made. Linux only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

SIZES = dict(
    knn=(1000, 4000, 16000),
    sndl=(20000, 100000, 400000),
    composed=(1000, 4000, 16000),
    slide=(256, 512, 1024),
    shots=(1, 5, 20),
    masks=(10, 40, 160),
    files=(50, 200, 1000),
)
WHAT = dict(
    knn='KNN of 64 dimensions among 20,000 images: queries',
    sndl='a step of SNDL, 128 dimensions, batch 256: rows of the memory',
    composed='composed evaluation of 10,000 images, four methods: pairs',
    slide='DSQNet, the demo, windows of 64: side of the image',
    shots='SCCNet, ResNet-18, images of 96: supports',
    masks='SCCNet, ResNet-18, one support: queries of a folder',
    files='vectors of a ResNet-18 at 48 pixels: files of a folder',
)
ROOT = Path(__file__).parents[2]


def parse_args():
    parser = argparse.ArgumentParser(description='Peak memory of loops over their sizes')
    parser.add_argument('loops', nargs='*', metavar='LOOP', help=f'of {", ".join(SIZES)}')
    parser.add_argument('--out', metavar='FILE', help='JSON file for the figures')
    parser.add_argument('--size', type=int, help=argparse.SUPPRESS)  # this process measures
    return parser.parse_args()


def knn(size):
    import torch

    from rs_mm.retrieval.knn import knn_classify

    references, queries = torch.randn(20000, 64), torch.randn(size, 64)
    labels = (torch.rand(20000, 19) < 0.2).float()
    return lambda: knn_classify(queries, references, labels)


def sndl(size):
    import torch
    import torch.nn.functional as F

    from rs_mm.models.losses.sndl import sndl_loss

    memory, labels = F.normalize(torch.randn(size, 128)), (torch.rand(size, 17) < 0.2).float()
    batch = F.normalize(torch.randn(256, 128)).requires_grad_()
    index = torch.arange(256)
    return lambda: sndl_loss(batch, index, memory, labels).backward()


def composed(size):
    import torch
    from composed import example

    from rs_mm.retrieval.composed import evaluate_queries
    from rs_mm.retrieval.fusion import AverageFusion, ImageOnly, TextOnly, WeiCom

    queries, features, text = example(10000, 128, size, torch.Generator().manual_seed(0))
    fusions = [ImageOnly(), TextOnly(), AverageFusion(), WeiCom(0.5)]
    return lambda: evaluate_queries(queries, features, text, fusions)


def slide(size):
    import torch

    from rs_mm.launch.model_loading import load_model

    model = load_model(ROOT / 'configs/demo/dsqnet_swin_demo.py', device='cpu').model
    model.test_cfg.update(mode='slide', crop_size=(64, 64), stride=(48, 48))
    pair = torch.randn(1, 6, size, size)
    metas = [dict(ori_shape=(size, size), img_shape=(size, size), pad_shape=(size, size))]
    return lambda: torch.no_grad()(model.inference)(pair, metas)


def _segmenter(shots, folder):
    import numpy as np
    from PIL import Image

    from rs_mm.apis import FewShotSegmenter

    options = {
        'model.backbone.arch': 'resnet18',
        'model.backbone.init_cfg': None,
        'model.head.in_channels': (2, 2, 2),
        'test_dataloader.dataset.pipeline.1.size': 96,
    }
    config = ROOT / 'configs/sccnet/sccnet_resnet50_256_200k_isaid_fold0.py'
    mask = np.zeros((96, 96), np.uint8)
    mask[20:60, 30:70] = 255
    Image.fromarray(mask).save(folder / 'mask.png')
    segmenter = FewShotSegmenter(config, None, 'cpu', options)
    return segmenter, _images(shots, folder), [folder / 'mask.png'] * shots


def _images(count, folder):
    import numpy as np
    from PIL import Image

    (folder / 'images').mkdir(exist_ok=True)
    paths = [folder / 'images' / f'{i}.png' for i in range(count)]
    for path in paths:
        noise = np.random.default_rng(len(path.name)).integers(0, 256, (96, 96, 3), np.uint8)
        Image.fromarray(noise).save(path)
    return paths


def shots(size):
    segmenter, images, masks = _segmenter(size, _folder())
    return lambda: segmenter.fit(images, masks)(images[0])


def masks(size):
    folder = _folder()
    segmenter, images, masks = _segmenter(1, folder)
    segmenter.fit(images, masks)
    queries = _images(size, folder)
    return lambda: [segmenter(query).mask.sum() for query in queries]


def files(size):
    from rs_mm.apis import extract

    folder = _folder()
    _images(size, folder)
    config = ROOT / 'configs/demo/grn_sndl-bce_demo.py'
    archive, work = str(folder / 'images'), str(folder / 'work')
    return lambda: extract(config, None, folder / 'out', archive=archive, work_dir=work)


def _folder():
    return Path(tempfile.mkdtemp(prefix='rs_mm_memory_'))


def measure(loop, size):
    """Runs one loop in this process and prints its memory in MiB."""
    from composed import peak_memory

    from rs_mm.engine.host_memory import keep_freed_memory

    keep_freed_memory()  # as in training and testing
    work = globals()[loop](size)
    before = peak_memory(reset=True)
    work()
    print(f'MiB {peak_memory() - before:.0f}')


def main():
    args = parse_args()
    if args.size:
        measure(args.loops[0], args.size)
        return
    figures = {}
    for loop in args.loops or SIZES:
        for size in SIZES[loop]:
            command = [sys.executable, __file__, loop, '--size', str(size)]
            done = subprocess.run(command, capture_output=True, text=True)
            found = [line for line in done.stdout.splitlines() if line.startswith('MiB ')]
            if not found:
                sys.exit(done.stderr[-2000:])
            figures.setdefault(loop, {})[size] = int(found[0].split()[1])
        row = ', '.join(f'{size:,}: {mib} MiB' for size, mib in figures[loop].items())
        print(f'{WHAT[loop]}: {row}', flush=True)
    if args.out:
        Path(args.out).write_text(json.dumps(figures, indent=1) + '\n')


if __name__ == '__main__':
    main()
