"""Times SCCNet in one run against the published computation, and against its FLOPs.

    OMP_NUM_THREADS=2 python tools/benchmarks/fewshot.py --out fewshot.json

The reference is the method in plain code, with the same weights: a backbone pass for every image of
every shot, BatchNorm not folded, correlations computed again for every mask, 6-D permutes around
each convolution. The runs of the two alternate; the best time of each counts. The floor is the time
of our products and convolutions at the speed of a large float32 matrix product. Memory is the
growth of the peak of a process that runs only this case.
"""

import argparse
import subprocess
import sys
import time

CASES = {  # name: (shots, batch, training)
    '1-shot prediction': (1, 1, False),
    '5-shot prediction': (5, 1, False),
    'batch of 4, forward': (1, 4, False),
    'batch of 4, training step': (1, 4, True),
}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--arch', default='resnet50', choices=['resnet50', 'resnet101', 'vgg16'])
    parser.add_argument('--size', type=int, default=256, help='side of the images')
    parser.add_argument(
        '--cases',
        nargs='+',
        type=int,
        default=range(len(CASES)),
        help='numbers of: ' + ', '.join(f'{i} {n}' for i, n in enumerate(CASES)),
    )
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument(
        '--mask-share',
        type=float,
        default=0.2,
        help='part of a support image that its class covers',
    )
    parser.add_argument('--memory', action='store_true', help='measure peak memory too')
    parser.add_argument('--out', help='JSON file of the results')
    parser.add_argument('--memory-of', nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


# ---------------------------------------------------------------- the published way, plainly


def plain_layer(layer, x):
    """One 4-D layer on (B, C, h_q, w_q, h_s, w_s), permuting around both convolutions."""
    import torch
    import torch.nn.functional as F

    b, c, hq, wq, hs, ws = x.shape
    step = layer.stride
    rows, columns = (torch.arange(0, n, step) for n in (hs, ws))
    thin = x.index_select(4, rows).index_select(5, columns)
    hp, wp = thin.shape[4:]
    y1 = thin.permute(0, 4, 5, 1, 2, 3).contiguous().view(-1, c, hq, wq)
    y1 = layer.conv_query(y1)
    y1 = y1.view(b, hp, wp, -1, hq, wq).permute(0, 3, 4, 5, 1, 2).contiguous()
    y2 = x.permute(0, 2, 3, 1, 4, 5).contiguous().view(-1, c, hs, ws)
    y2 = layer.conv_support(y2)
    y2 = y2.view(b, hq, wq, -1, hp, wp).permute(0, 3, 1, 2, 4, 5).contiguous()
    norm = layer.norm
    return F.relu(F.group_norm(y1 + y2, norm.num_groups, norm.weight, norm.bias, norm.eps))


def plain_learner(learner, correlations):
    """Runs the learner of HSNet on (B, L, h_q, w_q, h_s, w_s), deepest first."""
    import torch.nn.functional as F

    def run(block, x):
        for layer in block:
            x = plain_layer(layer, x)
        return x

    def enlarge(x, size):
        b, c, hq, wq, hs, ws = x.shape
        x = x.permute(0, 4, 5, 1, 2, 3).contiguous().view(b * hs * ws, c, hq, wq)
        x = F.interpolate(x, size, mode='bilinear', align_corners=True)
        return x.view(b, hs, ws, c, *size).permute(0, 3, 4, 5, 1, 2).contiguous()

    squeezed = [run(block, c) for block, c in zip(learner.squeeze, correlations)]
    x = squeezed[0]
    for mix, finer in zip(learner.mix, squeezed[1:]):
        x = run(mix, enlarge(x, finer.shape[2:4]) + finer)
    x = learner.decoder(x.mean((4, 5)))
    size = [2 * n for n in x.shape[2:]]
    return learner.classifier(F.interpolate(x, size, mode='bilinear', align_corners=True))


def plain_mask(stages, mask):
    """Multiplies every map with the resized mask."""
    import torch.nn.functional as F

    return [
        [
            m
            * F.interpolate(mask[:, None].float(), m.shape[2:], mode='bilinear', align_corners=True)
            for m in stage
        ]
        for stage in stages
    ]


def plain_correlations(query, support):
    """Computes clamped cosines of all maps, stacked by stage, deepest first."""
    import torch

    out = []
    for q_maps, s_maps in zip(query[::-1], support[::-1]):
        layers = []
        for q, s in zip(q_maps, s_maps):
            a, b = q.flatten(2), s.flatten(2)
            a = a / (a.norm(dim=1, keepdim=True) + 1e-5)
            b = b / (b.norm(dim=1, keepdim=True) + 1e-5)
            c = torch.bmm(a.transpose(1, 2), b).view(len(q), *q.shape[2:], *s.shape[2:])
            layers.append(c.clamp(min=0))
        out.append(torch.stack(layers, 1))
    return out


def plain_forward(model, query, support, mask, query_mask=None):
    """Runs the published forward pass of one shot: (logits, guided logits or None)."""
    import torch
    import torch.nn.functional as F

    backbone, head, size = model.backbone, model.head, query.shape[2:]

    def enlarge(x):
        return F.interpolate(x, size, mode='bilinear', align_corners=True)

    with torch.no_grad():
        q = backbone._features(backbone.net, query)
        s = plain_mask(backbone._features(backbone.net, support), mask)
        cross = plain_correlations(q, s)
    coarse = plain_learner(head.cross_learner, cross)
    with torch.no_grad():
        q = plain_mask(q, enlarge(coarse).argmax(1))
        own = plain_correlations(q, q)
    coarse2 = plain_learner(head.self_learner, own)
    logits = enlarge(F.relu(head.merge(torch.cat([coarse, coarse2], 1))))
    if query_mask is None:
        return logits, None
    with torch.no_grad():
        q = plain_mask(q, query_mask)
        own = plain_correlations(q, q)
    return logits, enlarge(plain_learner(head.self_learner, own))


def plain_predict(model, query, support, masks):
    """Computes everything again for each shot, and then votes."""
    import torch

    from rs_mm.models.segmentors.few_shot_segmentor import vote

    with torch.no_grad():
        shots = [
            plain_forward(model, query, support[:, k], masks[:, k])[0].argmax(1)
            for k in range(support.shape[1])
        ]
    return vote(torch.stack(shots, 1))[0]


# ---------------------------------------------------------------- measuring


def build(arch):
    """Builds the model with random weights."""
    import torch

    import rs_mm.models  # noqa: F401
    from rs_mm.registry import MODELS

    torch.manual_seed(0)
    counts = dict(resnet50=(4, 6, 3), resnet101=(4, 23, 3), vgg16=(3, 3, 1))
    return MODELS.build(
        dict(
            type='rs_mm.FewShotSegmentor',
            backbone=dict(type='rs_mm.PreActivationBackbone', arch=arch),
            head=dict(type='rs_mm.SelfCrossCorrelationHead', in_channels=counts[arch]),
            data_preprocessor=dict(type='rs_mm.FewShotDataPreprocessor'),
        )
    )


def make_case(model, case, size, mask_share):
    """Returns two functions without arguments, the plain way and ours, with comparable results."""
    import torch

    from rs_mm.structures import EpisodeDataSample

    shots, batch, training = CASES[case]
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(batch, 3, size, size, generator=generator)
    support = torch.randn(batch, shots, 3, size, size, generator=generator)
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing='ij')
    radius = size * (mask_share / torch.pi) ** 0.5
    disc = ((yy - size / 2) ** 2 + (xx - size / 2) ** 2 < radius**2).to(torch.uint8)
    samples = [
        EpisodeDataSample(
            gt_mask=disc, support_mask=disc.expand(shots, -1, -1), metainfo=dict(query_name='q')
        )
        for _ in range(batch)
    ]
    masks, inputs = disc.expand(batch, shots, -1, -1), dict(query=query, support=support)
    model.train(training)
    if not training:
        return (
            lambda: plain_predict(model, query, support, masks),
            lambda: torch.stack([s.pred_mask for s in model.predict(inputs, samples)]),
        )

    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.0)

    def step(losses):
        total = sum(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return total.detach()

    def plain():
        logits, guided = plain_forward(model, query, support[:, 0], masks[:, 0], masks[:, 0])
        target = masks[:, 0].long()
        return step([torch.nn.functional.cross_entropy(x, target) for x in (logits, guided)])

    return plain, lambda: step(model.loss(inputs, samples).values())


def alternate(functions, repeats):
    """Returns the best time in seconds of each function; their runs alternate."""
    best = [float('inf')] * len(functions)
    for i in range(repeats + 1):
        for k, function in enumerate(functions):
            begin = time.perf_counter()
            function()
            if i:  # the first round warms up
                best[k] = min(best[k], time.perf_counter() - begin)
    return best


def matrix_speed(repeats):
    """Returns FLOP/s of a large float32 matrix product, with the faster of torch's two
    libraries."""
    import torch

    n = 2048
    a, b = torch.randn(2, n, n)
    image, kernel = (
        a[None, :, :, None].contiguous(memory_format=torch.channels_last),
        b[:, :, None, None],
    )
    best = alternate([lambda: a @ b, lambda: torch.conv2d(image, kernel)], repeats)
    return 2 * n**3 / min(best)


def count_flops(function):
    """Returns the FLOPs of products and convolutions that are really done."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def peak_memory(args, case, way):
    """Returns the MiB by which the peak of a new process grows."""
    command = [
        sys.executable,
        __file__,
        '--arch',
        args.arch,
        '--size',
        str(args.size),
        '--threads',
        str(args.threads),
        '--mask-share',
        str(args.mask_share),
        '--memory-of',
        case,
        way,
    ]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_memory(args):
    import resource

    case, way = args.memory_of
    function = make_case(build(args.arch), case, args.size, args.mask_share)[way == 'ours']
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    function()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main():
    args = parse_args()
    import torch

    torch.set_num_threads(args.threads)
    if args.memory_of:
        return print_memory(args)
    speed = matrix_speed(args.repeats)
    print(
        f'{args.arch}, {args.size} x {args.size}, {args.threads} threads, matrix product '
        f'{speed / 1e9:.0f} GFLOP/s'
    )
    model, results = build(args.arch), []
    for case in [list(CASES)[i] for i in args.cases]:
        plain, ours = make_case(model, case, args.size, args.mask_share)
        difference = (plain().float() - ours().float()).abs().mean().item()
        flops = [count_flops(plain), count_flops(ours)]
        seconds = alternate([plain, ours], args.repeats)
        result = dict(
            case=case,
            plain_s=seconds[0],
            ours_s=seconds[1],
            ratio=seconds[0] / seconds[1],
            plain_gflop=flops[0] / 1e9,
            ours_gflop=flops[1] / 1e9,
            floor_s=flops[1] / speed,
            ours_over_floor=seconds[1] * speed / flops[1],
            mean_difference=difference,
        )
        results.append(result)
        print(
            '{case}: {plain_s:.3f} s -> {ours_s:.3f} s ({ratio:.2f}x), {plain_gflop:.1f} -> '
            '{ours_gflop:.1f} GFLOP, {ours_over_floor:.2f} x floor, difference '
            '{mean_difference:.1e}'.format(**result),
            flush=True,
        )
        if args.memory:
            result.update({f'{way}_mib': peak_memory(args, case, way) for way in ('plain', 'ours')})
            print(
                '    peak memory {plain_mib:.0f} -> {ours_mib:.0f} MiB'.format(**result), flush=True
            )
    if args.out:
        about = dict(
            arch=args.arch,
            size=args.size,
            threads=args.threads,
            mask_share=args.mask_share,
            gflops_matrix_product=speed / 1e9,
            results=results,
        )
        from rs_mm.files import write_json

        write_json(args.out, about)


if __name__ == '__main__':
    main()
