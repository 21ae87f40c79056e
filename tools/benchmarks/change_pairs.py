"""DSQNet, its corrections and the baselines on a handful of real pairs, leave-one-out.

    python tools/benchmarks/change_pairs.py LEVIR=FOLDER DSIFN=FOLDER --seeds 0 1 2 --out DIR

A folder holds A, B and label with PNGs of equal names. For every pair each method is trained on
the other pairs and tested on it. The pixels of all pairs are counted together: one F1 and one IoU
per method and seed, as if it were one test set. All runs share one process; finished ones are not
repeated. DIR/SET/METHOD holds what tools/analysis_tools/compare.py reads.
"""

import argparse
from pathlib import Path

METHODS = {
    'DSQNet': 'configs/DSQNet/DSQNet_swin-demo_64x64_100i_pairs.py',
    'DSQNet_train_regions': 'configs/DSQNet/DSQNet_swin-demo_64x64_100i_pairs_train_regions.py',
    'DSQNet_correct_layout': 'configs/DSQNet/DSQNet_swin-demo_64x64_100i_pairs_correct_layout.py',
    'siam-upernet': 'configs/change_baselines/siam-upernet_swin-demo_64x64_100i_pairs.py',
    'unet': 'configs/change_baselines/unet_swin-demo_64x64_100i_pairs.py',
}


def parse_args():
    parser = argparse.ArgumentParser(description='Compare change detectors on a handful of pairs')
    parser.add_argument('sets', nargs='+', metavar='NAME=FOLDER', help='pairs: A, B, label')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--out', default='work_dirs/change_pairs', help='default: %(default)s')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports wait, so that --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: compare_methods(args))


def compare_methods(args):
    from rs_mm.analysis.comparison import compare, read_group
    from rs_mm.analysis.comparison_tables import as_markdown
    from rs_mm.errors import ConfigError

    if not all('=' in text for text in args.sets):
        raise ConfigError(f'{" ".join(args.sets)}: name each set, as in NAME=FOLDER.')
    sets = dict(text.split('=', 1) for text in args.sets)
    for name, folder in sets.items():
        if len(pair_names(folder)) < 2:
            raise ConfigError(f'{name}={folder}: {folder}/A must hold at least two pairs (PNG).')
    for seed in args.seeds:
        for name, folder in sets.items():
            for method in args.methods:
                leave_one_out(folder, METHODS[method], seed, Path(args.out, name, method))
            groups = [read_group(Path(args.out, name, method)) for method in args.methods]
            print(f'{name}, seeds up to {seed}\n{as_markdown(compare(groups))}', flush=True)


def pair_names(folder):
    """File names of the pairs, sorted."""
    return sorted(path.name for path in Path(folder, 'A').glob('*.png'))


def leave_one_out(data_root, config, seed, out):
    """Trains and tests once per pair; writes OUT/seedN/{metrics.json,samples.csv} over all."""
    import numpy as np

    from rs_mm.evaluation import sample_scores
    from rs_mm.evaluation.change_scores import change_scores
    from rs_mm.files import write_metrics

    folder = out / f'seed{seed}'
    if (folder / 'metrics.json').is_file():
        return
    names = pair_names(data_root)
    folds = [train_and_test(data_root, config, seed, folder, names, name) for name in names]
    scores = change_scores(np.sum([fold['confusion'] for fold in folds], axis=0))
    rows = [dict(fold['scores'], row=row) for row, fold in enumerate(folds)]
    sample_scores.write_csv(folder / 'samples.csv', rows)
    changed = {key: 100 * scores[key][1] for key in ('IoU', 'Precision', 'Recall')}
    # 0 where nothing was found; change_scores has NaN there, as mmseg
    changed['F1'] = 200 * changed['IoU'] / (100 + changed['IoU'])
    write_metrics(
        folder / 'metrics.json',
        {f'all_{key}': value for key, value in changed.items()} | dict(kappa=100 * scores['kappa']),
    )


def train_and_test(data_root, config, seed, folder, names, name):
    """Confusion matrix (rows true, columns predicted) and scores of the pair that is left out."""
    import json

    from rs_mm.apis import train
    from rs_mm.files import write_json

    fold = folder / 'folds' / Path(name).stem
    done = fold / 'fold.json'
    if not done.is_file():
        fold.mkdir(parents=True, exist_ok=True)
        (fold / 'train.txt').write_text('\n'.join(other for other in names if other != name))
        (fold / 'test.txt').write_text(name)
        # a run of seconds starts anew where it was interrupted, and its weights are not needed
        options = {'randomness.seed': seed, 'default_hooks.checkpoint': None}
        for loader in ('train', 'val', 'test'):
            lists = 'train.txt' if loader == 'train' else 'test.txt'
            dataset = f'{loader}_dataloader.dataset'
            options[f'{dataset}.data_root'] = str(Path(data_root).resolve())
            options[f'{dataset}.ann_file'] = str((fold / lists).resolve())
        runner = train(config, options, work_dir=fold / 'run')
        runner.test()
        (metric,) = runner.test_loop.evaluator.metrics
        result = dict(confusion=metric.confusion.counts, scores=metric.sample_scores[0])
        write_json(done, result)
    return json.loads(done.read_text(), parse_constant=float)


if __name__ == '__main__':
    main()
