"""Chooses the thresholds of labels on the validation set, and stores them in the checkpoint.

python tools/choose_thresholds.py CONFIG CKPT --per-class --out with_thresholds.pth

tools/predict_labels.py and LabelPredictor find them there.
"""

import argparse

from rs_mm.launch.options import add_config_options, add_device


def parse_args():
    parser = argparse.ArgumentParser(description='Choose thresholds of labels for the best F1')
    parser.add_argument('config', help='config of the model, with a validation set')
    parser.add_argument('checkpoint', help='weights of the model')
    parser.add_argument(
        '--out', metavar='FILE', help='checkpoint to write (default: the same file, replaced)'
    )
    parser.add_argument(
        '--split', default='val', choices=['train', 'val', 'test'], help='default: val'
    )
    parser.add_argument(
        '--per-class',
        action='store_true',
        help='a threshold for each class, for the best F1 of that class (default: one for all, '
        'for the best F1 averaged over samples)',
    )
    parser.add_argument(
        '--method',
        default='auto',
        choices=['auto', 'classifier', 'knn'],
        help='source of the probabilities (default: the classifier if there is one)',
    )
    add_device(parser)
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: choose(args), args)


def choose(args):
    """Runs the command, and prints F1 before and after."""
    from rs_mm.apis.labels.thresholds import choose_thresholds

    found = choose_thresholds(
        args.config,
        args.checkpoint,
        args.out,
        args.split,
        args.per_class,
        args.method,
        args.device,
        args.cfg_options,
    )
    if args.per_class:
        for name, value in zip(found.classes, found.values):
            print(f'{value:8.4f}  {name}')
    else:
        print(f'{found.values[0]:8.4f}  for every class')
    for name, value in found.after.items():
        print(f'F1 ({name}) on the {args.split} split: {found.before[name]:.4f} -> {value:.4f}')
    print(f'The thresholds are in {found.path}')


if __name__ == '__main__':
    main()
