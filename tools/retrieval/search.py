"""Finds images in a folder, or among extracted features, by an image, a text, or both.

python tools/retrieval/search.py --image X.jpg --text "with a red roof" --archive FOLDER
python tools/retrieval/search.py --image X.jpg --features DIR --config CONFIG --weights CKPT
"""

import argparse
from pathlib import Path

CONFIG = Path(__file__).parents[2] / 'configs/weicom/weicom_clip-vit-l14_patterncom.py'


def parse_args():
    parser = argparse.ArgumentParser(
        description='Search a folder by an image, a text, or both. The features of the folder are '
        'computed once; later only new and changed files are.'
    )
    parser.add_argument(
        '--image',
        metavar='FILE',
        help='query image, of any format, or the name of one of the archive',
    )
    parser.add_argument('--text', help='query text, e.g. "with a red roof"')
    parser.add_argument(
        '--archive', metavar='DIR', help='folder whose images are searched, with its subfolders'
    )
    parser.add_argument(
        '--features',
        metavar='DIR',
        help='instead of a folder of images: what tools/retrieval/extract.py wrote there',
    )
    parser.add_argument(
        '--lambda',
        dest='lam',
        type=float,
        default=0.5,
        metavar='L',
        help='share of the text, 0 to 1, where both are given (default: 0.5)',
    )
    parser.add_argument('-k', type=int, default=10, help='how many images (default: 10)')
    parser.add_argument('--show-dir', metavar='DIR', help='save a picture of the result there')
    parser.add_argument('--out', metavar='FILE.csv', help='write rank, score and path')
    parser.add_argument(
        '--config',
        default=str(CONFIG),
        metavar='FILE',
        help=f'model and preprocessing (default: {CONFIG.name})',
    )
    parser.add_argument(
        '--weights', metavar='FILE', help="weights or checkpoint instead of the config's"
    )
    parser.add_argument(
        '--bands',
        type=int,
        nargs=3,
        metavar='B',
        help='bands of a TIFF for red, green and blue, from 0',
    )
    parser.add_argument(
        '--index-dir',
        default='work_dirs/features',
        metavar='DIR',
        help='where the features are kept (default: work_dirs/features)',
    )
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override keys of the config, e.g. test_dataloader.batch_size=4',
    )
    return parser.parse_args()


def search(args):
    import csv

    from rs_mm.apis.search import ImageSearch, check_query
    from rs_mm.visualization import save_sheet

    names = [args.image] if args.features else ()  # known when they are loaded
    check_query(args.image, args.text, args.lam, args.k, names)
    engine = ImageSearch(
        args.archive,
        args.config,
        args.weights,
        args.index_dir,
        args.bands,
        args.device,
        args.cfg_options,
        args.features,
    )
    found = engine(args.image, args.text, args.lam, args.k)
    for rank, hit in enumerate(found, 1):
        print(f'{rank:4d}  {hit.score:8.4f}  {hit.path}')
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        with open(args.out, 'w', newline='') as file:
            csv.writer(file).writerows(
                [
                    ('rank', 'score', 'path'),
                    *((rank, f'{hit.score:.6f}', hit.path) for rank, hit in enumerate(found, 1)),
                ]
            )
    if args.show_dir:
        path = Path(args.show_dir) / 'search.png'
        save_sheet(path, engine.draw(found, args.image, args.text, args.lam))
        print(f'The picture is {path}')


def main():
    args = parse_args()
    # heavy imports wait, so that --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: search(args))


if __name__ == '__main__':
    main()
