"""Finds images in a folder or an index, by an image, a text, or both.

python tools/retrieval/search.py --image X.jpg --text "with a red roof" --archive FOLDER
python tools/retrieval/search.py --image X.jpg --features DIR --config CONFIG --weights CKPT
python tools/retrieval/search.py --text "a harbor but without boats" --index lance://DIR
"""

import argparse
from pathlib import Path

from rs_mm.launch.options import add_config_options, add_device

CONFIG = Path(__file__).parents[2] / 'configs/weicom/weicom_clip-vit-l14_patterncom.py'


def parse_args():
    parser = argparse.ArgumentParser(
        description='Search a folder by an image, a text, or both. The features of the folder are '
        'computed once; later only new and changed files are.'
    )
    query = parser.add_argument_group('query')
    query.add_argument(
        '--image',
        metavar='FILE',
        help='query image, of any format, or the name of one of the archive',
    )
    query.add_argument(
        '--text', help='query text, e.g. "with a red roof" or "a harbor but without boats"'
    )
    query.add_argument(
        '--term',
        action='append',
        default=[],
        metavar='TEXT=W',
        help='a further text and its weight; may be given several times',
    )
    query.add_argument(
        '--without',
        action='append',
        default=[],
        metavar='TEXT',
        help='a text of what images must not show; may be given several times',
    )
    query.add_argument(
        '--method',
        default='weicom',
        metavar='M',
        help='how image and text become one score: weicom, basic, sum, average, product or '
        'minimum (default: weicom)',
    )
    query.add_argument(
        '--lambda',
        dest='lam',
        type=float,
        default=0.5,
        metavar='L',
        help='share of the text in weicom, 0 to 1, where both are given (default: 0.5)',
    )
    query.add_argument(
        '--queries',
        metavar='FILE.csv',
        help='many queries, each a row with the columns image, text and, if wanted, name',
    )
    query.add_argument(
        '--prompt', action='store_true', help='type queries one after another: IMAGE | TEXT'
    )
    query.add_argument('-k', type=int, default=10, help='number of images (default: 10)')
    query.add_argument(
        '--rerank',
        nargs=3,
        metavar=('change', 'CONFIG', 'CKPT'),
        help='order what was found by the share of change that a change detector predicts '
        'between the query image and each',
    )
    place = parser.add_argument_group('archive')
    place.add_argument(
        '--archive', metavar='DIR', help='folder whose images are searched, with its subfolders'
    )
    place.add_argument(
        '--index',
        metavar='URI',
        help='where the vectors are kept: DIR, lance://DIR, milvus://FILE.db or '
        'milvus+http://HOST:19530; without --archive it is only asked',
    )
    place.add_argument(
        '--features',
        metavar='DIR',
        help='instead of a folder of images: what tools/retrieval/extract.py wrote there',
    )
    place.add_argument(
        '--index-dir',
        default='work_dirs/features',
        metavar='DIR',
        help='where an archive without --index has its own (default: work_dirs/features)',
    )
    place.add_argument(
        '--tile',
        metavar='SIZE',
        default='auto',
        help='cut the scenes of the archive into tiles of this side: pixels (256) or metres '
        '(150m). auto (default): cut pictures that are much larger than what the model sees, into '
        'parts of that size; none: each file is one picture',
    )
    place.add_argument(
        '--stride', metavar='SIZE', help='distance between tiles (default: SIZE; auto: half)'
    )
    place.add_argument(
        '--metadata',
        metavar='FILE.csv',
        help='table with name, date, sensor, labels, footprint of images',
    )
    filters = parser.add_argument_group('filters')
    filters.add_argument(
        '--bbox',
        type=float,
        nargs=4,
        metavar=('WEST', 'SOUTH', 'EAST', 'NORTH'),
        help='only images whose footprint meets this box, in degrees',
    )
    filters.add_argument(
        '--after', metavar='DATE', help='first date, as 2020, 2020-05 or 2020-05-31'
    )
    filters.add_argument('--before', metavar='DATE', help='last date, included')
    filters.add_argument(
        '--label', action='append', default=[], metavar='L', help='a label that an image must have'
    )
    filters.add_argument(
        '--where', metavar='EXPR', help='further condition, e.g. \'sensor == "S2" and north > 54\''
    )
    output = parser.add_argument_group('output')
    output.add_argument(
        '--show-dir', metavar='DIR', help='save a picture of the result in this folder'
    )
    output.add_argument('--out', metavar='FILE', help='write the results: .csv, .geojson or .gpkg')
    output.add_argument('--map', metavar='FILE.html', help='write a map of the results')
    output.add_argument(
        '--check', action='store_true', help='measure the recall of the index on a sample'
    )
    model = parser.add_argument_group('model')
    model.add_argument(
        '--config',
        default=str(CONFIG),
        metavar='FILE',
        help=f'model and preprocessing (default: {CONFIG.name})',
    )
    model.add_argument(
        '--weights', metavar='FILE', help="weights or checkpoint instead of the config's"
    )
    model.add_argument(
        '--bands',
        type=int,
        nargs=3,
        metavar='B',
        help='bands of a TIFF for red, green and blue, from 0',
    )
    add_device(model)
    model.add_argument(
        '--backend',
        default='torch',
        help='torch, bfloat16, onnx, or the folder of an export (default: torch)',
    )
    add_config_options(model)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: search(args), args)


def search(args):
    """Runs one search as the command line says."""
    from rs_mm.apis.paths import check_map, check_search

    check_search(args)
    check_map(args.map)

    # from here on with torch
    from rs_mm.apis.search.command import search

    return search(args)


if __name__ == '__main__':
    main()
