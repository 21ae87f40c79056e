"""Evaluates extracted features by a config's metrics, without the model and the images.

python tools/retrieval/evaluate.py CONFIG DIR --split test
"""

import argparse

from rs_mm.launch.options import add_config_options


def parse_args():
    parser = argparse.ArgumentParser(description='Evaluate extracted features')
    parser.add_argument('config', help='config whose metrics and labels are used')
    parser.add_argument('features', help='folder that tools/retrieval/extract.py wrote')
    parser.add_argument(
        '--split',
        default='test',
        choices=['train', 'val', 'test'],
        help='the split of the features (default: test)',
    )
    parser.add_argument(
        '--reference',
        metavar='DIR',
        help='features of the train split, which KNNMetric searches',
    )
    parser.add_argument('--out', metavar='FILE.json', help='write the metrics there')
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    def run():
        from rs_mm.apis import evaluate_features

        metrics = evaluate_features(
            args.config, args.features, args.split, args.reference, args.cfg_options, args.out
        )
        for name, value in metrics.items():
            print(f'{name}: {value:.4f}')

    run_cli(run)


if __name__ == '__main__':
    main()
