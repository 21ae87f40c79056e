"""Converts a checkpoint of the original OML code: python tools/model_converters/oml.py SRC DST."""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(
        description='Convert a checkpoint of the original OML code (Imbriaco et al.) to rs_mm'
    )
    parser.add_argument('src', help='original checkpoint, epoch_N.pth')
    parser.add_argument(
        'dst',
        help='file to write; `tools/test.py CONFIG DST` takes it. A config '
        'for it comes from tools/model_converters/oml_config.py',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    # heavy imports come later, so --help answers at once
    from rs_mm.checkpoint import read_state_dict, save_converted
    from rs_mm.converters.oml import convert_names
    from rs_mm.launch.command_line import run_cli

    def convert():
        # no prefix is stripped here: the attention module's own names begin with "module."
        state = read_state_dict(args.src, strip=())
        converted, dropped = convert_names(state)
        save_converted(converted, args.dst, dict(source=args.src))
        print(
            f'{args.dst}: {len(state)} entries, {len(converted)} written, {len(dropped)} '
            'dropped' + (f' (first {dropped[0]})' if dropped else '')
        )

    run_cli(convert)


if __name__ == '__main__':
    main()
