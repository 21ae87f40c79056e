"""Compares runs with the first one: python tools/analysis_tools/compare.py RUNS RUNS.

    compare.py FOLDER... | metrics.json...        mean, spread, paired test; interval over samples
    compare.py A.csv B.csv [--show-dir DIR]       two tables of test.py --out-samples

A folder holds one run per subfolder, as run_seeds.py makes it.
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description='Compare runs over seeds and samples')
    parser.add_argument('runs', nargs='+', help='folders, metrics.json or tables of samples')
    parser.add_argument('--metrics', nargs='+', help='which metrics (default: all)')
    parser.add_argument(
        '--out', nargs='+', default=[], metavar='FILE', help='FILE.md, FILE.csv or FILE.tex'
    )
    parser.add_argument(
        '--show-dir',
        metavar='DIR',
        help='draw both predictions of the samples that differ most in two tables',
    )
    parser.add_argument('--count', type=int, default=10, help='how many (default: %(default)s)')
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args))


def run(args):
    from rs_mm.analysis import comparison_tables as tables
    from rs_mm.analysis.comparison import compare, read_group
    from rs_mm.errors import ConfigError

    for path in args.out:
        tables.check_suffix(path)
    is_pair = len(args.runs) == 2 and all(path.endswith('.csv') for path in args.runs)
    if args.show_dir and not is_pair:
        raise ConfigError('--show-dir is for two tables of test.py --out-samples, A.csv B.csv.')
    groups = [read_group(path) for path in args.runs]
    if is_pair and groups[0].name == groups[1].name:
        for group, path in zip(groups, args.runs):
            group.name = path
    result = compare(groups, args.metrics)
    print(tables.as_markdown(result))
    for path in args.out:
        tables.write(result, path)
    if args.show_dir:
        from rs_mm.apis.comparison_sheets import draw_differences

        metric = args.metrics[0] if args.metrics else None
        for path in draw_differences(*args.runs, args.show_dir, args.count, metric):
            print(path)


if __name__ == '__main__':
    main()
