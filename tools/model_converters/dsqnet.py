"""Converts an official DSQNet checkpoint: python tools/model_converters/dsqnet.py SRC DST."""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(
        description='Convert a checkpoint of the official DSQNet (an Open-CD project) to rs_mm'
    )
    parser.add_argument('src', help='official checkpoint')
    parser.add_argument('dst', help='file to write; `tools/test.py CONFIG DST` takes it')
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.checkpoint import read_state_dict, save_converted
    from rs_mm.converters.dsqnet import convert_dsqnet
    from rs_mm.launch.command_line import run_cli

    def convert():
        state, report = convert_dsqnet(read_state_dict(args.src))
        save_converted(state, args.dst, dict(source=args.src))
        print(f'{args.dst}: {report}')

    run_cli(convert)


if __name__ == '__main__':
    main()
