"""Measures GRN's two heavy parts on generated vectors, and what they replace.

    python tools/benchmarks/grn.py sndl --sizes 20000 200000 --threads 2
    python tools/benchmarks/grn.py knn --sizes 10000x1000 200000x20000 --threads 2

`sndl`: one step (loss and gradient) beside a plain autograd implementation that keeps every batch x
memory matrix, and beside the two necessary products of batch and memory. `knn`: classification
beside scikit-learn's, with the number of labels on which the two differ. Measurements alternate, so
other load on the machine affects all of them; medians are shown.
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description='Measure the SNDL step and KNN classification')
    parser.add_argument('part', choices=['sndl', 'knn'])
    parser.add_argument(
        '--sizes',
        nargs='+',
        metavar='N|NxQ',
        help='memory rows (sndl), or references x queries (knn)',
    )
    parser.add_argument('--batch', type=int, default=256, help='images per SNDL step (256)')
    parser.add_argument('--dim', type=int, default=128, help='dimension of the vectors (128)')
    parser.add_argument('--labels', type=int, default=17, help='number of labels (17)')
    parser.add_argument(
        '--dtype',
        default='float32',
        choices=['float32', 'bfloat16', 'float16'],
        help="precision of SNDL's products (float32)",
    )
    parser.add_argument(
        '--device', default='cpu', help='cpu or cuda (cpu; knn: always cpu beside scikit-learn)'
    )
    parser.add_argument('--threads', type=int, help='CPU threads (all)')
    parser.add_argument('--repeat', type=int, default=7, help='repetitions (7)')
    parser.add_argument('--out', metavar='FILE.json', help='also write the results to this file')
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: report(args))


def report(args):

    import torch

    from rs_mm.engine.host_memory import keep_freed_memory

    keep_freed_memory()  # as in training and testing
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    measure, sizes = {
        'sndl': (measure_sndl, ['20000', '200000']),
        'knn': (measure_knn, ['10000x1000', '200000x20000']),
    }[args.part]
    rows = [measure(size, args) for size in args.sizes or sizes]
    for row in rows:
        print(
            '  '.join(
                f'{key} {value:.4g}' if isinstance(value, float) else f'{key} {value}'
                for key, value in row.items()
            )
        )
    if args.out:
        from rs_mm.files import write_json

        write_json(args.out, rows)


def measure_sndl(size, args):
    """Measures the milliseconds of a step, of a plain step, and of the two products."""
    import torch
    import torch.nn.functional as F

    from rs_mm.models.losses.sndl import sndl_loss

    count = int(size)
    memory = F.normalize(torch.randn(count, args.dim)).to(args.device)
    labels = (torch.rand(count, args.labels) < 0.3).to(torch.uint8).to(args.device)
    index = torch.randperm(count)[: args.batch].to(args.device)
    features = F.normalize(torch.randn(args.batch, args.dim)).to(args.device).requires_grad_()
    signs = labels.float() * 2 - 1
    work = torch.empty(min(args.batch * count, max(2**26, count)), device=args.device)

    def ours():
        sndl_loss(
            features, index, memory, labels, dtype=getattr(torch, args.dtype), work=work
        ).backward()

    def plain():
        e = (features @ memory.t() / 0.05).exp()
        e = e.scatter(1, index[:, None], 0)
        weight = 0.5 + signs[index] @ signs.t() / (2 * args.labels)
        (-((weight * e).sum(1) / e.sum(1)).log().sum() / args.batch).backward()

    def products():
        with torch.no_grad():
            torch.mm(features @ memory.t(), memory)

    times = alternate(dict(ours=ours, plain=plain, products=products), args)
    return dict(
        memory=count,
        **{f'{name}_ms': 1e3 * value for name, value in times.items()},
        plain_to_ours=times['plain'] / times['ours'],
        ours_to_products=times['ours'] / times['products'],
    )


def measure_knn(size, args):
    """Measures the seconds of rs_mm and of scikit-learn."""
    import torch
    import torch.nn.functional as F
    from sklearn.neighbors import KNeighborsClassifier

    from rs_mm.retrieval.knn import knn_classify

    count, queries = (int(part) for part in size.split('x'))
    reference, query = (F.normalize(torch.randn(rows, args.dim)) for rows in (count, queries))
    labels = (torch.rand(count, args.labels) < 0.3).to(torch.uint8)
    results = {}

    def ours():
        results['ours'] = knn_classify(query, reference, labels)

    def theirs():
        classifier = KNeighborsClassifier(10, weights='distance')
        classifier.fit(reference.numpy(), labels.numpy())
        results['theirs'] = torch.from_numpy(classifier.predict(query.numpy()))

    times = alternate(dict(ours=ours, scikit_learn=theirs), args)
    return dict(
        references=count,
        queries=queries,
        **{f'{name}_s': value for name, value in times.items()},
        times_as_fast=times['scikit_learn'] / times['ours'],
        labels_that_differ=int((results['ours'] != results['theirs']).sum()),
    )


def alternate(calls, args):
    """Returns the median seconds of each call; the calls alternate."""
    import time

    import torch

    times = {name: [] for name in calls}
    for _ in range(args.repeat):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if args.device != 'cpu':
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: sorted(values)[len(values) // 2] for name, values in times.items()}


if __name__ == '__main__':
    main()
