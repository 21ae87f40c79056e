"""Builds or updates an index of an archive.

python tools/retrieval/build_index.py lance://work_dirs/index --archive FOLDER --config CONFIG
python tools/retrieval/build_index.py milvus+http://HOST:19530 --features DIR
"""

import argparse
from pathlib import Path

from rs_mm.launch.options import add_config_options, add_device

CONFIG = Path(__file__).parents[2] / 'configs/weicom/weicom_clip-vit-l14_patterncom.py'


def parse_args():
    parser = argparse.ArgumentParser(
        description='Build an index, or bring it up to date: only new and changed content goes '
        'through the model, files that are gone are removed.'
    )
    parser.add_argument(
        'index',
        metavar='URI',
        help='DIR, lance://DIR, milvus://FILE.db or milvus+http://HOST:19530',
    )
    parser.add_argument('--archive', metavar='DIR', help='folder of images, with its subfolders')
    parser.add_argument(
        '--features',
        metavar='DIR',
        help='instead: folder of features of tools/retrieval/extract.py',
    )
    parser.add_argument(
        '--tile',
        metavar='SIZE',
        default='auto',
        help='cut the scenes of the archive into tiles of this side: pixels (256) or metres '
        '(150m). auto (default): cut pictures that are much larger than what the model sees, into '
        'parts of that size; none: each file is one picture',
    )
    parser.add_argument(
        '--stride', metavar='SIZE', help='distance between tiles (default: SIZE; auto: half)'
    )
    parser.add_argument(
        '--metadata',
        metavar='FILE.csv',
        help='table with name, date, sensor, labels, footprint of images',
    )
    parser.add_argument('--config', default=str(CONFIG), metavar='FILE')
    parser.add_argument('--weights', metavar='FILE')
    parser.add_argument('--bands', type=int, nargs=3, metavar='B')
    add_device(parser)
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    def build():
        from rs_mm.apis.search.building import build_index

        index = build_index(
            args.index,
            args.archive,
            args.features,
            args.metadata,
            args.config,
            args.weights,
            args.bands,
            args.device,
            args.cfg_options,
            args.tile,
            args.stride,
        )
        print(f'{index.uri}: {len(index)} records of {index.dims} dimensions')

    run_cli(build)


if __name__ == '__main__':
    main()
