"""Converts an official GRN checkpoint: python tools/model_converters/grn.py SRC DST --dataset aid.

The file's pickled memory object is read without running any code of it.
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(
        description='Convert a checkpoint of the official GRN (SNDL, SNDL-BCE) to rs_mm'
    )
    parser.add_argument('src', help='official checkpoint')
    parser.add_argument('dst', help='file to write; `tools/test.py CONFIG DST` takes it')
    parser.add_argument(
        '--dataset',
        choices=['ucm', 'aid', 'dfc15'],
        help='dataset it was trained on; gives the memory its labels '
        '(default: the memory is left out)',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.checkpoint import save_converted
    from rs_mm.converters.grn import convert_checkpoint
    from rs_mm.launch.command_line import run_cli

    def convert():
        state, report = convert_checkpoint(args.src, args.dataset)
        save_converted(state, args.dst, dict(source=args.src))
        print(f'{args.dst}: {report}')

    run_cli(convert)


if __name__ == '__main__':
    main()
