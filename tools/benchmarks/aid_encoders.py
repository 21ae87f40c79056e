"""GRN, OML and BCE with a ResNet-18 and a small ViT on AID at 64 pixels, one schedule for all.

    python tools/benchmarks/aid_encoders.py data/AID --seeds 0 1 2 --out work_dirs/aid_encoders

AID lies in one folder per scene, data/AID/SCENE/NAME.jpg. All runs share one process; finished
ones are not repeated. OUT/METHOD/seedN holds metrics.json and samples.csv of the test set, as
tools/analysis_tools/run_seeds.py writes them, and compare.py reads the folders.
"""

import argparse
from pathlib import Path

METHODS = {
    'BCE_ResNet-18': 'configs/oml/oml_r18_bce_64_2e_aid.py',
    'OML_ResNet-18': 'configs/oml/oml_r18_oml_64_2e_aid.py',
    'GRN_ResNet-18': 'configs/grn/sndl-bce_resnet18_64_2e_aid.py',
    'BCE_ViT': 'configs/oml/oml_vit_bce_64_2e_aid.py',
    'OML_ViT': 'configs/oml/oml_vit_oml_64_2e_aid.py',
    'GRN_ViT': 'configs/grn/sndl-bce_vit_64_2e_aid.py',
}


def parse_args():
    parser = argparse.ArgumentParser(description='Compare losses and encoders on AID')
    parser.add_argument('data', help='folder of AID')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--out', default='work_dirs/aid_encoders', help='default: %(default)s')
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

    for seed in args.seeds:
        for method in args.methods:
            train_and_test(METHODS[method], args.data, seed, Path(args.out, method, f'seed{seed}'))
        groups = [read_group(Path(args.out, method)) for method in args.methods]
        print(f'seeds up to {seed}\n{as_markdown(compare(groups))}', flush=True)


def train_and_test(config, data, seed, folder):
    """Writes FOLDER/metrics.json and samples.csv of the last weights."""
    from rs_mm.apis import train
    from rs_mm.evaluation import sample_scores
    from rs_mm.files import write_metrics

    if (folder / 'metrics.json').is_file():
        return
    options = {'randomness.seed': seed, 'data_root': data}
    runner = train(config, options, work_dir=folder / 'run', resume='auto')
    metrics = runner.test()
    rows = sample_scores.collect_rows(runner.test_loop.evaluator.metrics)
    sample_scores.write_csv(folder / 'samples.csv', rows)
    write_metrics(folder / 'metrics.json', metrics)


if __name__ == '__main__':
    main()
