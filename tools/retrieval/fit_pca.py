"""Fits a PCA with whitening to a model's embeddings.

    python tools/retrieval/fit_pca.py CONFIG CHECKPOINT work_dirs/pca.npz --dims 128

A config then takes it by `test_evaluator = dict(pca=dict(path="work_dirs/pca.npz"))`.
"""

import argparse

from rs_mm.launch.options import add_config_options


def parse_args():
    parser = argparse.ArgumentParser(description='Fit a PCA to the embeddings of a split')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='weights of the model')
    parser.add_argument('out', help='.npz to write')
    parser.add_argument('--dims', type=int, default=128, help='dimensions to keep (default: 128)')
    parser.add_argument('--no-whiten', action='store_true', help='leave the variances as they are')
    parser.add_argument(
        '--split',
        default='train',
        choices=['train', 'val', 'test'],
        help='images to fit to (default: train)',
    )
    parser.add_argument('--work-dir', help='folder of the logs')
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    def fit():
        from rs_mm.apis.features.pca import fit_pca

        fit_pca(
            args.config,
            args.checkpoint,
            args.out,
            args.dims,
            not args.no_whiten,
            args.split,
            args.cfg_options,
            args.work_dir,
        )

    run_cli(fit)


if __name__ == '__main__':
    main()
