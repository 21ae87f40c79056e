"""Converts a YAML config of the original OML code into a config of rs_mm.

python tools/model_converters/oml_config.py ucm.yaml configs/oml/my_ucm.py
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(
        description='Convert a YAML config of the original OML code (Imbriaco et al.)'
    )
    parser.add_argument('src', help='YAML file')
    parser.add_argument('dst', help='config to write, somewhere below configs/')
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.converters.oml_config import convert_yaml
    from rs_mm.launch.command_line import run_cli

    def convert():
        for line in convert_yaml(args.src, args.dst):
            print(line)

    run_cli(convert)


if __name__ == '__main__':
    main()
