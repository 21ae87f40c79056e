"""A benchmark of prediction and training of a config's model, compared with the machine's limit."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch.profiler import ProfilerActivity, profile

from rs_mm.analysis.complexity import build_model, example_batch, flop_counter, unfused_attention
from rs_mm.engine.compiling import compile_parts
from rs_mm.errors import ConfigError
from rs_mm.launch.config import set_up_torch
from rs_mm.models.memories import FeatureBank


@dataclass
class Setting:
    """One measurement; see ``tools/analysis_tools/benchmark.py --help``."""

    height: int
    width: int
    batch: int = 1
    train: bool = False
    device: torch.device | str = 'cpu'
    dtype: str = 'float32'
    compile: bool = False
    channels_last: bool = False
    profile: bool = False
    seconds: float = 5.0


def measure(cfg: Config, setting: dict) -> dict:
    """Runs a config's model on random inputs and measures it; see :func:`measure_in_turn`."""
    return measure_in_turn(cfg, [setting])[0]


def measure_in_turn(cfg: Config, settings: Sequence[dict]) -> list[dict]:
    """Measures several ways to run one model in turns.

    A training step is the step of a Runner with the config's optimizer; with a GPU, batches come
    from pinned memory.

    Returns: For each setting: its fields, the median ``ms`` per step with the quartiles ``ms_low``
        and ``ms_high``, samples ``per_second``, ``gflop`` of the products, convolutions and
        attention of one step, ``share_of_rate`` (the share of the rate of a large matrix product,
        measured in the same run, that they reach; on a GPU that computes convolutions in TF32, of
        its rate in TF32), ``peak_mib`` of memory (on a CPU the process's, as if it had measured
        nothing else) and, where asked for, ``kernels`` (see :func:`kernel_times`).
    """
    set_up_torch(cfg.get('torch_cfg') or {})
    torch.backends.cudnn.benchmark = cfg.get('env_cfg', {}).get('cudnn_benchmark', False)
    runs = [_Run(cfg, setting) for setting in settings]
    wanted = sum(setting.seconds for setting in settings)
    while len(runs[0].times) < 3 or sum(sum(run.times) for run in runs) < wanted:
        for run in runs:
            run.time_once()
    return [run.result() for run in runs]


class _Run:
    """A model that is ready to be timed, after two steps to warm up."""

    def __init__(self, cfg, setting):
        torch.manual_seed(0)
        self.setting, self.times = setting, []
        others = _forget_peak(setting.device)
        model = build_model(cfg)
        if setting.train and cfg.get('training_free'):
            raise ConfigError(
                f'{type(model).__name__} is training-free and has no training step '
                'to measure; leave --train out.'
            )
        _fill_memories(model)
        layout = torch.channels_last if setting.channels_last else torch.contiguous_format
        model = model.to(setting.device, memory_format=layout)
        batch = example_batch(model, setting.batch, setting.height, setting.width)
        if setting.device == 'cuda':
            batch['inputs'] = _pinned(batch['inputs'])  # as in the loader
        step = _train_step(cfg, model, setting) if setting.train else _predict_step(model, setting)
        self.step = lambda: step(dict(batch))
        with unfused_attention(), flop_counter() as counter:
            self.step()
        self.flops = counter.get_total_flops()
        if setting.compile:
            compile_parts(model)
        for _ in range(2):
            self.time_once()
        self.times.clear()
        self.peak = _peak_bytes(setting.device) - others

    def time_once(self):
        _synchronize(self.setting.device)
        start = time.perf_counter()
        self.step()
        _synchronize(self.setting.device)
        self.times.append(time.perf_counter() - start)

    def result(self):
        setting = self.setting
        low, median, high = _quartiles(self.times)
        rate = matrix_rate(setting.device, setting.dtype)
        kernels = kernel_times(self.step) if setting.profile else None
        return dict(
            asdict(setting),
            ms=1e3 * median,
            ms_low=1e3 * low,
            ms_high=1e3 * high,
            per_second=setting.batch / median,
            gflop=self.flops / 1e9,
            share_of_rate=self.flops / median / rate,
            peak_mib=self.peak / 2**20,
            **(
                {}
                if kernels is None
                else dict(
                    kernels=dict(
                        kernels, rate_of_products=self.flops / 1e9 / max(kernels['products'], 1e-9)
                    )
                )
            ),
        )


def _fill_memories(model):
    """Does what a hook does before a real training."""
    for part in model.modules():
        if isinstance(part, FeatureBank):
            part.set_labels(torch.randint(2, part.labels.shape))


def _autocast(setting):
    if setting.dtype == 'float32':
        return contextlib.nullcontext()
    return torch.autocast(setting.device, dtype=getattr(torch, setting.dtype))


def _predict_step(model, setting):
    model.eval()

    def step(batch):
        with torch.inference_mode(), _autocast(setting):
            return model.test_step(batch)

    return step


def _train_step(cfg, model, setting):
    model.train()
    wrapper = dict(cfg.get('optim_wrapper') or dict(optimizer=dict(type='AdamW')))
    wrapper['optimizer'] = dict(wrapper['optimizer'], lr=1e-6)  # random images teach nothing
    if setting.dtype != 'float32':
        wrapper.update(type='AmpOptimWrapper', dtype=setting.dtype)
    wrapper = build_optim_wrapper(model, wrapper)
    wrapper.initialize_count_status(model, 0, 10**9)
    return lambda batch: model.train_step(batch, wrapper)


def _pinned(inputs):
    if isinstance(inputs, dict):
        return {key: _pinned(value) for key, value in inputs.items()}
    if isinstance(inputs, list):
        return [image.pin_memory() for image in inputs]
    return inputs.pin_memory()


_KERNELS = dict(  # the first kind with a word in the kernel's name
    layout='nchwtonhwc nhwctonchw',
    copies='memcpy memset',
    collectives='nccl',
    products='gemm conv xmma cutlass fmha flash wgrad dgrad fprop splitk gemv',
    norms='norm bn_fw bn_bw batch_norm layer_norm',
    optimizer='multi_tensor fused_adam fused_sgd',
    other='',
)


def kernel_times(step: Callable, steps: int = 3) -> dict[str, float]:
    """Returns the milliseconds of a GPU's work in one step, by kind of kernel, and ``busy``, their
    sum.

    In the rest of a step the GPU waits for the host.

    Args:
        step: function that runs one step; it has run before.
        steps: number of steps to average.
    """
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
    times = dict.fromkeys(_KERNELS, 0.0)
    for event in found.key_averages():
        name = event.key.lower()
        kind = next(
            kind
            for kind, words in _KERNELS.items()
            if not words or any(word in name for word in words.split())
        )
        times[kind] += event.self_device_time_total / 1e3 / steps
    return dict(times, busy=sum(times.values()))


def time_repeatedly(
    action: Callable[[], Any], seconds: float, device: torch.device | str = 'cpu', warmup: int = 2
) -> list[float]:
    """Returns the seconds of each run of ``action``, repeated for about ``seconds``, at least three
    times."""

    def once():
        _synchronize(device)
        start = time.perf_counter()
        action()
        _synchronize(device)
        return time.perf_counter() - start

    for _ in range(warmup):
        once()
    times = []
    while len(times) < 3 or sum(times) < seconds:
        times.append(once())
    return times


def _synchronize(device):
    if device == 'cuda':
        torch.cuda.synchronize()


def matrix_rate(
    device: torch.device | str = 'cpu', dtype: str = 'float32', side: int | None = None
) -> float:
    """Returns the floating-point operations per second of a large matrix product: the practical
    limit."""
    side = side or (8192 if device == 'cuda' else 2048)
    a = torch.randn(side, side, device=device, dtype=getattr(torch, dtype))
    was = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = was or torch.backends.cudnn.allow_tf32
    try:
        return 2 * side**3 / min(time_repeatedly(lambda: a @ a, 0.5, device))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = was


def _quartiles(times):
    if len(times) < 4:
        return min(times), statistics.median(times), max(times)
    low, median, high = statistics.quantiles(times, n=4)
    return low, median, high


def _forget_peak(device):
    """Starts the measurement of a peak; returns the bytes that earlier measurements hold."""
    gc.collect()
    if device == 'cuda':
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    global _at_first
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')
    held = _peak_bytes(device)
    _at_first = held if _at_first is None else _at_first
    return held - _at_first


_at_first = None  # bytes of the process before its first measurement


def _peak_bytes(device):
    if device == 'cuda':
        return torch.cuda.max_memory_allocated()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path('/proc/self/status').read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def describe_machine(device: torch.device | str) -> dict:
    """Returns the facts about the machine for a table of figures."""
    name = torch.cuda.get_device_name() if device == 'cuda' else _cpu_name()
    info = dict(
        device=name,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
        gflops=matrix_rate(device) / 1e9,
    )
    info['text'] = (
        f'{name}, {info["threads"]} CPU threads, torch {torch.__version__}, Python '
        f'{info["python"]}; a large float32 matrix product reaches '
        f'{info["gflops"]:.0f} GFLOP/s'
    )
    return info


def _cpu_name():
    try:
        with open('/proc/cpuinfo') as lines:
            return next(line.split(':')[1].strip() for line in lines if 'model name' in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
