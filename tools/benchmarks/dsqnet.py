"""Times DSQNet in one run against the published computation, and against its FLOPs.

    python tools/benchmarks/dsqnet.py --threads 2 --memory --out dsqnet.json

The reference is ``dsqnet_plain.py`` in the same folder, with the same weights: a backbone pass per
date, explicit attention over padded windows, RoIAlign twice, windows one by one. The runs of the
two alternate with large float32 matrix products; the best time of each counts. The floor is the
time of our products and convolutions at the speed of these matrix products. Memory is the peak of a
process that runs one case in one way, with weights and libraries.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES = {  # name: (config of the model, side, batch, training)
    'Swin-T, pair of 256': ('swin', 256, 1, False),
    'Swin-T, pair of 512': ('swin', 512, 1, False),
    'ViTAEv2-S, pair of 256': ('vitae', 256, 1, False),
    'ViTAEv2-S, pair of 512': ('vitae', 512, 1, False),
    'Swin-T, pair of 1024 by windows of 512': ('swin', 1024, 1, False),
    'Swin-T, training step, batch 2, 256': ('swin', 256, 2, True),
}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--cases',
        nargs='+',
        type=int,
        default=range(len(CASES)),
        help='numbers of: ' + ', '.join(f'{i} {n}' for i, n in enumerate(CASES)),
    )
    parser.add_argument('--repeats', type=int, default=5, help='runs of each way (default: 5)')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--memory', action='store_true', help='measure peak memory too')
    parser.add_argument('--out', metavar='FILE.json', help='also write the results to this file')
    parser.add_argument('--memory-of', nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_case(case, plain):
    """Returns a function without arguments that predicts a pair, or trains for a step."""
    import torch
    from dsqnet_plain import make_plain  # beside this script

    from rs_mm.analysis.complexity import build_model
    from rs_mm.launch.config import load_config, set_up_torch

    backbone, side, batch, training = CASES[case]
    cfg = load_config(
        str(
            ROOT
            / 'configs/DSQNet'
            / f'DSQNet_{backbone}_imp_512x512_80k_levircd_lr1e-4_bs8_wd0.01.py'
        )
    )
    set_up_torch(cfg.torch_cfg)
    torch.manual_seed(0)
    model = build_model(cfg)
    model = make_plain(model) if plain else model
    data = model.data_preprocessor(model.example_inputs(batch, side, side), training)
    inputs, samples = data['inputs'], data['data_samples']
    if not training:

        def predict():
            with torch.inference_mode():
                return model.inference(inputs, [sample.metainfo for sample in samples])

        return predict

    model.train()
    optimizer = torch.optim.AdamW(filter(lambda p: p.requires_grad, model.parameters()), lr=1e-6)

    def step():
        loss, _ = model.parse_losses(model(inputs, samples, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measure(case, repeats):
    """Measures times, FLOPs and floor of one case."""
    import torch

    from rs_mm.analysis.complexity import flop_counter

    ours, plain = make_case(case, plain=False), make_case(case, plain=True)
    with flop_counter() as counter:
        ours()
    flops = counter.get_total_flops()
    matrix = torch.randn(2048, 2048)
    functions = ours, plain, lambda: matrix @ matrix, lambda: matrix @ matrix
    plain()
    rounds = [[_seconds(function) for function in functions] for _ in range(repeats)]
    seconds, plain_seconds, *products = map(min, zip(*rounds))
    speed = 2 * 2048**3 / min(products)
    return dict(
        case=case,
        ours_s=seconds,
        plain_s=plain_seconds,
        ratio=plain_seconds / seconds,
        gflop=flops / 1e9,
        gflops_matrix_product=speed / 1e9,
        floor_s=flops / speed,
        share_of_floor=flops / speed / seconds,
    )


def _seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_memory(args, case, way):
    """Returns the MiB at the peak of a new process."""
    command = [sys.executable, __file__, '--threads', str(args.threads), '--memory-of', case, way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def print_memory(case, way):
    make_case(case, plain=way == 'plain')()
    # not getrusage, where a new process inherits the peak of its parent
    status = Path('/proc/self/status').read_text()
    print(int(status.split('VmHWM:')[1].split()[0]) / 1024)


def main():
    args = parse_args()
    import torch

    from rs_mm.analysis.step_benchmark import describe_machine

    torch.set_num_threads(args.threads)
    if args.memory_of:
        return print_memory(*args.memory_of)
    machine, results = describe_machine('cpu'), []
    print(machine['text'])
    for case in [list(CASES)[i] for i in args.cases]:
        result = measure(case, args.repeats)
        results.append(result)
        print(
            '{case}: {plain_s:.3f} s -> {ours_s:.3f} s ({ratio:.2f}x); {gflop:.0f} GFLOP at '
            '{gflops_matrix_product:.0f} GFLOP/s: {share_of_floor:.0%} of the floor'.format(
                **result
            ),
            flush=True,
        )
        if args.memory:
            result.update({f'{way}_mib': peak_memory(args, case, way) for way in ('plain', 'ours')})
            print(
                '    peak memory {plain_mib:.0f} -> {ours_mib:.0f} MiB'.format(**result), flush=True
            )
    if args.out:
        from rs_mm.files import write_json

        write_json(args.out, dict(machine=machine, results=results))


if __name__ == '__main__':
    main()
