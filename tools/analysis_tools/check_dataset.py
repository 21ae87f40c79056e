"""Checks every file of a config's datasets before a training.

    python tools/analysis_tools/check_dataset.py CONFIG

Reports unreadable files, pairs and labels of unequal size, unexpected label values, splits without
any changed pixel, training images in another split, and how often each class occurs. The exit
status is 1 if there are problems.
"""

import argparse
import sys

from rs_mm.launch.options import add_config_options


def parse_args():
    parser = argparse.ArgumentParser(description="Check every file of a config's datasets")
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--split',
        nargs='+',
        choices=['train', 'val', 'test'],
        default=['train', 'val', 'test'],
        help='splits to check (default: all)',
    )
    parser.add_argument(
        '--num-workers', type=int, default=4, help='processes (default: %(default)s)'
    )
    parser.add_argument('--out', metavar='FILE', help='write the whole report as JSON')
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: check(args), args)


def check(args):
    """Runs the command; the exit status is 1 if there are problems."""

    from rs_mm.analysis.dataset_check import check_config, format_report
    from rs_mm.files import check_file_writable, write_json

    if args.out:
        check_file_writable(args.out, '--out')
    report = check_config(args.config, args.split, args.num_workers, args.cfg_options)
    print(format_report(report))
    if args.out:
        write_json(args.out, report)
    if any(split['problems'] for split in report.values()):
        sys.exit(1)


if __name__ == '__main__':
    main()
