"""Draws losses, rates and metrics of runs: python tools/analysis_tools/plot_log.py RUN.

    plot_log.py work_dirs/A work_dirs/B --keys loss 'retrieval/mAP*' --out curves.png

The numbers are written beside the picture as CSV.
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description='Draw the scalars of runs')
    parser.add_argument('runs', nargs='+', help='work folders, or scalars.json files')
    parser.add_argument('--out', default='curves.png', help='picture (default: %(default)s)')
    parser.add_argument('--keys', nargs='+', help='scalars; NAME* for all that begin with NAME')
    parser.add_argument('--names', nargs='+', help='names of the runs in the legend')
    parser.add_argument(
        '--smooth',
        type=float,
        default=0.0,
        help='smoothing of losses, 0 to 1 (default: %(default)s)',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args))


def run(args):
    from rs_mm.analysis.log_plots import plot_logs

    drawn = plot_logs(args.runs, args.out, args.keys, args.names, args.smooth)
    print(f'{len(drawn)} scalars of {len(args.runs)} runs are in {args.out}')


if __name__ == '__main__':
    main()
