"""Trains and tests configs with several seeds: python tools/analysis_tools/run_seeds.py CONFIG.

    run_seeds.py CONFIG... --seeds 0 1 2 [--work-dir DIR] [--launcher pytorch --processes 4]

Each run lies in DIR/CONFIG_NAME/seedN, with metrics.json and samples.csv of its test. Finished runs
are not repeated, and interrupted runs continue. The tool prints a comparison with the first config.
"""

import argparse

from rs_mm.launch.options import add_config_options


def parse_args():
    parser = argparse.ArgumentParser(description='Train and test configs with several seeds')
    parser.add_argument('config', nargs='+', help='config files')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--work-dir', default='work_dirs/seeds', help='default: %(default)s')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='starts every run with --processes processes',
    )
    parser.add_argument(
        '--processes', type=int, default=1, help='processes of a run, with --launcher'
    )
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args), args)


def run(args):
    from rs_mm.analysis.comparison import compare, read_group
    from rs_mm.analysis.comparison_tables import as_markdown
    from rs_mm.analysis.seed_runs import run_seeds

    folders = run_seeds(
        args.config,
        args.seeds,
        args.work_dir,
        args.cfg_options or [],
        args.launcher,
        args.processes,
        args.amp,
    )
    print(as_markdown(compare([read_group(folder) for folder in folders])))


if __name__ == '__main__':
    main()
