"""Times the evaluation of a retrieval run on generated vectors.

    python tools/benchmarks/retrieval.py --vectors 10000 --out speed.json

Three things are timed: the product of queries and database, which every exact search needs; our
whole evaluation (product, ranking, all measures); and, up to --straightforward-up-to vectors, a
straightforward evaluation that loops over queries and calls a function for every label distance, as
the original code does. The figures of the last two are compared.
"""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description='Time the evaluation of a retrieval run')
    parser.add_argument(
        '--vectors',
        type=int,
        nargs='+',
        default=[5000, 10000],
        help='sizes of the image set; a fifth of it are queries',
    )
    parser.add_argument(
        '--queries',
        type=int,
        metavar='Q',
        help='time only the first Q queries; the time per query does not depend on their number',
    )
    parser.add_argument('--dims', type=int, default=2048, help='dimensions of a vector')
    parser.add_argument('--labels', type=int, default=19, help='labels')
    parser.add_argument('--chunk-size', type=int, default=256, help='queries at a time')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--threads', type=int, help='CPU threads')
    parser.add_argument(
        '--straightforward-up-to',
        type=int,
        default=5000,
        metavar='N',
        help='largest set that the slow way is run on; 0: never',
    )
    parser.add_argument('--out', help='JSON file for the figures')
    return parser.parse_args()


def main():
    args = parse_args()
    from rs_mm.launch.command_line import run_cli

    run_cli(lambda: run(args))


def run(args):
    """Times every size and prints a line each."""

    import torch

    from rs_mm.engine.host_memory import keep_freed_memory

    keep_freed_memory()  # as in testing
    if args.threads:
        torch.set_num_threads(args.threads)
    figures = []
    for count in args.vectors:
        figures.append(time_one(count, args))
        print(
            ' '.join(
                f'{key}={value:.3g}' if isinstance(value, float) else f'{key}={value}'
                for key, value in figures[-1].items()
            ),
            flush=True,
        )
    if args.out:
        from rs_mm.files import write_json

        write_json(args.out, figures)


def time_one(count, args):
    """Times one set of ``count`` vectors."""
    import torch

    from rs_mm.retrieval import CosineScores, evaluate, normalized, split_queries

    labels, vectors = make_vectors(count, args.dims, args.labels)
    queries, database = split_queries(count)
    queries = queries[: args.queries]
    vectors, labels = vectors.to(args.device), labels.to(args.device)
    query_vectors, base = normalized(vectors[queries]), normalized(vectors[database])
    query_labels, base_labels = labels[queries], labels[database]
    del vectors
    scores = CosineScores(query_vectors, base)
    # once before and once after, because the load of the machine changes
    product = [timed(lambda: product_alone(scores, args.chunk_size), args.device)[0]]
    with PeakMemory(args.device) as peak:
        ours, result = timed(
            lambda: evaluate(scores, query_labels, base_labels, chunk_size=args.chunk_size),
            args.device,
        )
    product.append(timed(lambda: product_alone(scores, args.chunk_size), args.device)[0])
    figures = dict(
        vectors=count,
        queries=len(queries),
        database=len(database),
        dims=args.dims,
        labels=args.labels,
        device=args.device,
        threads=torch.get_num_threads(),
        chunk_size=args.chunk_size,
        product_s=sum(product) / 2,
        ours_s=ours,
        ours_over_product=ours / (sum(product) / 2),
        extra_memory_gib=peak.extra / 2**30,
    )
    if count <= args.straightforward_up_to:
        seconds, expected = timed(
            lambda: straightforward(
                *(x.cpu().numpy() for x in (query_vectors, base, query_labels, base_labels))
            ),
            'cpu',
        )
        means = result.mean()
        worst = max(abs(means[key] - value) / value for key, value in expected.items())
        figures.update(
            straightforward_s=seconds,
            straightforward_over_ours=seconds / ours,
            largest_relative_difference=worst,
        )
    return figures


def make_vectors(count, dims, num_labels, prototypes=200):
    """Makes labels around common label sets, and vectors that follow them roughly."""
    import torch

    generator = torch.Generator().manual_seed(0)
    sets = (torch.rand(prototypes, num_labels, generator=generator) < 0.15).float()
    labels = sets[torch.randint(prototypes, (count,), generator=generator)]
    flips = (torch.rand(count, num_labels, generator=generator) < 0.02).float()
    labels = (labels - flips).abs()
    labels[labels.sum(1) == 0, 0] = 1
    directions = torch.randn(num_labels, dims, generator=generator)
    noise = torch.randn(count, dims, generator=generator)
    return labels, noise.addmm_(labels, directions, beta=1.0, alpha=0.5)


def product_alone(scores, chunk_size):
    """Computes the matrix product and keeps nothing."""
    for start in range(0, len(scores), chunk_size):
        scores(start, min(start + chunk_size, len(scores)))


def straightforward(queries, database, query_labels, database_labels):
    """Evaluates the published protocol query by query."""
    import numpy as np

    from rs_mm.retrieval import THRESHOLDS

    def distance(a, b):
        union = np.sum((a > 0) | (b > 0))
        return np.sum(a != b) / union if union else 0.0

    distances = np.array([[distance(a, b) for b in database_labels] for a in query_labels])
    ranks = np.argsort(-(queries @ database.T), axis=1, kind='stable')
    figures = {f'mAP_{level}': [] for level in THRESHOLDS}
    figures |= {f'nDCG@{k}': [] for k in (20, 40, 60, 80, 100)}
    for row, order in enumerate(ranks):
        shared = (query_labels[row] * database_labels[order]).sum(1)
        gain = 2**shared - 1
        discount = np.log2(np.arange(len(order)) + 2)
        for k in (20, 40, 60, 80, 100):
            ideal = np.sort(gain[:k])[::-1]
            figures[f'nDCG@{k}'].append(
                (gain[:k] / discount[:k]).sum() / ((ideal / discount[:k]).sum() + 1e-6)
            )
        if not (distances[row] <= THRESHOLDS['hard']).any():
            continue
        for level, threshold in THRESHOLDS.items():
            places = np.flatnonzero(distances[row][order] <= threshold)
            area = 0.0
            for j, place in enumerate(places):
                area += (j / place if place else 1.0) + (j + 1) / (place + 1)
            figures[f'mAP_{level}'].append(area / 2 / len(places))
    return {key: float(np.mean(values)) for key, values in figures.items()}


def timed(function, device):
    """Returns seconds and result of a call."""
    import time

    import torch

    start = time.perf_counter()
    result = function()
    if device != 'cpu':
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


class PeakMemory:
    """Measures the peak of bytes in use during a with-block, minus the bytes at its start."""

    def __init__(self, device):
        import threading

        self.on_gpu = device != 'cpu'
        self.extra = 0
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        import torch

        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
            self._start = torch.cuda.memory_allocated()
        else:
            self._start = self._resident()
            self._watcher.start()
        return self

    def __exit__(self, *error):
        import torch

        if self.on_gpu:
            self.extra = torch.cuda.max_memory_allocated() - self._start
        else:
            self._done.set()
            self._watcher.join()

    def _watch(self):
        while not self._done.wait(0.02):
            self.extra = max(self.extra, self._resident() - self._start)

    @staticmethod
    def _resident():
        import resource
        from pathlib import Path

        pages = int(Path('/proc/self/statm').read_text().split()[1])
        return pages * resource.getpagesize()


if __name__ == '__main__':
    main()
