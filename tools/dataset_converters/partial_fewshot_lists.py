"""Writes lists of episodes for the existing images: partial_fewshot_lists.py SET ROOT OUT.

    python tools/dataset_converters/partial_fewshot_lists.py isaid_5i data/iSAID data/iSAID/lists

Keeps the entries of the published lists whose image and label exist below ROOT. Name OUT as
`list_dir` of the datasets in a config.
"""

import argparse

SETS = ('isaid_5i', 'dlrsd_5i', 'pascal_5i')


def parse_args():
    parser = argparse.ArgumentParser(description='Lists of episodes for a part of a few-shot set')
    parser.add_argument('set', choices=SETS, help='which set')
    parser.add_argument('root', help='its folder, the `data_root` of the config')
    parser.add_argument('out', help='folder for {trn,val}/foldN.txt')
    return parser.parse_args()


def run(args):
    from rs_mm.datasets.few_shot_lists import write_lists

    for path, kept, total in write_lists(args.set, args.root, args.out):
        print(f'{path}: {kept} of {total} entries')


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args))


if __name__ == '__main__':
    main()
