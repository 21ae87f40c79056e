"""Labels the images of a folder by class names, without training.

python tools/retrieval/zero_shot_labels.py --archive FOLDER --classes harbor forest --out tags.csv
"""

import argparse
from pathlib import Path

from rs_mm.launch.options import add_config_options, add_device

CONFIG = Path(__file__).parents[2] / 'configs/weicom/weicom_clip-vit-l14_patterncom.py'


def parse_args():
    parser = argparse.ArgumentParser(
        description='Write a table of labels as tools/predict_labels.py does, by a CLIP tower and '
        'class names in prompt templates. The vectors are those of the search.'
    )
    parser.add_argument('--archive', metavar='DIR', help='folder of images')
    parser.add_argument('--index', metavar='URI', help='index of the vectors')
    parser.add_argument('--classes', nargs='+', required=True, metavar='NAME')
    parser.add_argument('--out', required=True, metavar='FILE.csv')
    parser.add_argument(
        '--templates', nargs='+', metavar='TEXT', help='prompts with {} in place of the name'
    )
    parser.add_argument(
        '--threshold',
        type=float,
        help='classes with a larger probability are labels (default: the most probable class)',
    )
    parser.add_argument(
        '--tile',
        metavar='SIZE',
        default='none',
        help='cut scenes and label each tile: pixels (256), metres (150m), or auto for parts of '
        'what the model sees (default: none, a row for each file)',
    )
    parser.add_argument('--map', metavar='FILE.html', help='a map or list of the labels')
    parser.add_argument('--config', default=str(CONFIG), metavar='FILE')
    parser.add_argument('--weights', metavar='FILE')
    add_device(parser)
    add_config_options(parser)
    return parser.parse_args()


def label(args):
    from rs_mm.apis.labels.map import labels_map
    from rs_mm.apis.search import ImageSearch
    from rs_mm.apis.search.zero_shot import zero_shot_labels
    from rs_mm.retrieval.text_terms import TEMPLATES

    engine = ImageSearch(
        args.archive,
        args.config,
        args.weights,
        device=args.device,
        options=args.cfg_options,
        index=args.index,
        tile=args.tile,
    )
    templates = args.templates or TEMPLATES
    count = zero_shot_labels(engine, args.classes, args.out, templates, args.threshold)
    print(f'{count} rows are in {args.out}')
    if args.map:
        labels_map(args.out).save(args.map)
        print(f'The map is {args.map}')


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: label(args))


if __name__ == '__main__':
    main()
