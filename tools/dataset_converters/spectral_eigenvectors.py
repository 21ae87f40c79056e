"""Computes the eigenvectors of deep spectral segmentation for many images.

    python tools/dataset_converters/spectral_eigenvectors.py data/iSAID/val/images OUT --workers 8
    python tools/dataset_converters/spectral_eigenvectors.py CONFIG.py OUT --workers 8

The first form takes the images of a folder (and below), the second the queries of a config's test
data. OUT gets NAME.npy, (K, h, w) float32, and spectral.json with the settings. An interrupted run
continues where it stopped: existing files are kept, and a folder made with other settings is
refused. Every process uses one thread.
"""

import argparse

SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('images', help='folder of images, or a config with a test_dataloader')
    parser.add_argument('out', help='folder to write into')
    parser.add_argument('--arch', default='resnet50', help='resnet50, resnet101 or vgg16')
    parser.add_argument(
        '--weights',
        default=None,
        metavar='FILE',
        help='ImageNet weights: a file, a URL or torchvision://ARCH (default); '
        '"none" for random ones',
    )
    parser.add_argument('--num-vectors', type=int, default=5, metavar='K')
    parser.add_argument('--colour-weight', type=float, default=5.0, metavar='LAMBDA')
    parser.add_argument('--workers', type=int, default=1, help='processes')
    parser.add_argument(
        '--limit', type=int, default=None, help='stop after this number of new images'
    )
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: compute(args))


def find_images(source):
    """Returns name -> path of the images to decompose."""
    from pathlib import Path

    from rs_mm.errors import DataError, MissingFileError

    path = Path(source)
    if path.is_dir():
        pairs = [(p.stem, str(p)) for p in sorted(path.rglob('*')) if p.suffix.lower() in SUFFIXES]
    elif path.suffix == '.py' and path.is_file():
        pairs = _queries(source)
    else:
        raise MissingFileError(f'{source} is neither a folder nor a config file.')
    images = {}
    for name, file in pairs:
        if images.setdefault(name, file) != file:
            raise DataError(f'two images share the name {name}: {images[name]} and {file}.')
    if not images:
        raise DataError(f'there is no image ({", ".join(SUFFIXES)}) in {source}.')
    return images


def _queries(config):
    import rs_mm.datasets  # noqa: F401
    from rs_mm.errors import ConfigError
    from rs_mm.launch.config import load_config
    from rs_mm.registry import DATASETS

    loader = load_config(config).get('test_dataloader') or {}
    dataset = DATASETS.build(loader['dataset']) if 'dataset' in loader else ()
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    if not infos or 'query_files' not in infos[0]:
        raise ConfigError(
            f'{config} tests no episodes: the dataset of its test_dataloader must be '
            'one of few-shot segmentation; or give a folder of images.'
        )
    return [(info['query'], info['query_files'][0]) for info in infos]


def compute(args):
    """Decomposes all images without a file, in ``--workers`` processes."""
    from tqdm import tqdm

    from rs_mm.models.spectral.store import EigenvectorStore

    images = find_images(args.images)
    # built here first, so wrong settings stop before any process starts
    store = EigenvectorStore(args.out, _decomposition(args).settings)
    todo = [item for item in images.items() if not store.path(item[0]).is_file()][: args.limit]
    print(f'{len(images)} images, {len(todo)} to do')
    with tqdm(total=len(todo), unit='image') as bar:
        for _ in _run(args, todo):
            bar.update()


def _run(args, todo):
    if args.workers <= 1:
        _start(args)
        yield from map(_decompose, todo)
        return
    from multiprocessing import get_context

    with get_context('spawn').Pool(args.workers, _start, (args,)) as pool:
        yield from pool.imap_unordered(_decompose, todo)


def _decomposition(args):
    import torch

    from rs_mm.models.spectral import SpectralDecomposition

    torch.manual_seed(0)  # random weights are equal in every process
    weights = args.weights or f'torchvision://{args.arch}'
    return SpectralDecomposition(
        args.arch, None if weights == 'none' else weights, args.num_vectors, args.colour_weight
    )


def _start(args):
    global _made, _store
    import torch

    from rs_mm.models.spectral.store import EigenvectorStore

    torch.set_num_threads(1)
    _made, _store = _decomposition(args), EigenvectorStore(args.out)


def _decompose(item):
    from rs_mm.datasets.pictures import read_rgb

    name, path = item
    _store.save(name, _made(read_rgb(path))[1])


if __name__ == '__main__':
    main()
