"""Converts BigEarthNet to one LMDB: v1 or v2 folders, or the LMDBs of OML's code and of
rico-hdl."""

import argparse
from pathlib import Path


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='A run that was killed goes on when the same command is given '
        'again. Exit status: 0, or 1 where patches had to be left out (they are listed).',
    )
    parser.add_argument(
        'source',
        help='v1: the folder of patch folders; v2: the folder of '
        'BigEarthNet-S2 and metadata.parquet; or the folder of an LMDB: of the original code, '
        'or of rico-hdl (safetensors, as reBEN has it), with --metadata',
    )
    parser.add_argument('out', help='folder of the new LMDB, its splits and its manifest.json')
    parser.add_argument(
        '--splits',
        nargs='+',
        default=[],
        metavar='CSV',
        help='lists of patch names, one per row; the file name (train.csv, val.csv,'
        ' …) names the split. Default: those of v2, else every patch, no split',
    )
    parser.add_argument(
        '--exclude',
        nargs='+',
        default=[],
        metavar='CSV',
        help='lists of patches to leave out (seasonal snow, cloud and shadow), '
        'and to delete where an earlier run has written them',
    )
    parser.add_argument(
        '--metadata',
        nargs='+',
        metavar='PARQUET',
        help='v2: label tables (default: SOURCE/metadata.parquet, which has '
        'no patch with snow, cloud or shadow)',
    )
    parser.add_argument(
        '--layout', choices=['auto', 'v1', 'v2', 'lmdb', 'safetensors'], default='auto'
    )
    parser.add_argument('--workers', type=int, default=4, help='reading processes (default: 4)')
    parser.add_argument(
        '--verify', action='store_true', help='finally compare every record with its source'
    )
    return parser.parse_args()


def run(args):
    from rs_mm.datasets.bigearthnet.convert import convert
    from rs_mm.datasets.bigearthnet.folders import open_source
    from rs_mm.datasets.label_tables import read_names
    from rs_mm.files import check_writable

    check_writable(args.out, 'OUT')
    splits = {Path(path).name.split('.')[0]: read_names(path) for path in args.splits}
    exclude = [name for path in args.exclude for name in read_names(path)]
    source = open_source(args.source, args.layout, args.metadata)
    manifest = convert(source, args.out, splits, exclude, args.workers, verify=args.verify)
    print(
        f'{args.out}: {manifest["patches"]} patches from layout {manifest["source_layout"]}, '
        f'{manifest["excluded"]} excluded' + (', verified' if args.verify else '')
    )
    for split, content in manifest['splits'].items():
        print(f'  splits/{split}.csv: {content["patches"]} patches')
    if manifest['problems']:
        print(f'{len(manifest["problems"])} patches have a problem:')
        for name, problem in manifest['problems']:
            print(f'  {name}: {problem}')
        raise SystemExit(1)


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args))


if __name__ == '__main__':
    main()
