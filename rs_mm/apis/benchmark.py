"""How fast a config's model predicts and trains, and how near that is to the machine's limit."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import resource
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from mmengine.optim import OptimWrapper

from rs_mm.apis.complexity import build_model, count_flops, example_batch
from rs_mm.apis.config import set_up_torch
from rs_mm.errors import ConfigError
from rs_mm.models.memories import FeatureBank


@dataclass
class Setting:
    """One measurement; see ``tools/analysis_tools/benchmark.py --help``."""

    height: int
    width: int
    batch: int = 1
    train: bool = False
    device: str = 'cpu'
    dtype: str = 'float32'
    compile: bool = False
    channels_last: bool = False
    seconds: float = 5.0


def measure(cfg, setting) -> dict:
    """Runs a config's model on random inputs and measures it; see :func:`measure_in_turn`."""
    return measure_in_turn(cfg, [setting])[0]


def measure_in_turn(cfg, settings) -> list[dict]:
    """Measures several ways to run one model; they take turns, so that they compare.

    Returns:
        list[dict]: of each setting: its fields, the median ``ms`` per step with the quartiles
        ``ms_low`` and ``ms_high``, samples ``per_second``, ``gmacs`` of one forward pass of the
        batch, ``share_of_rate`` (the share of the rate of a large matrix product, measured in the
        same run, that those multiply-adds reach; predictions only) and ``peak_mib`` of memory (on
        a CPU the process's, as if it had measured nothing else).
    """
    set_up_torch(cfg.get('torch_cfg') or {})
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
            raise ConfigError(f'{type(model).__name__} is training-free and has no training step '
                              'to measure; leave --train out.')
        _fill_memories(model)
        shape = setting.batch, setting.height, setting.width
        self.macs, _ = count_flops(model, example_batch(model, *shape))
        batch = example_batch(model, *shape)
        layout = torch.channels_last if setting.channels_last else torch.contiguous_format
        model = model.to(setting.device, memory_format=layout)
        step = _train_step(model, setting) if setting.train else _predict_step(model, setting)
        self.step = lambda: step(batch)
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
        share = None
        if not setting.train:
            share = 2 * self.macs / median / matrix_rate(setting.device, setting.dtype)
        return dict(
            asdict(setting), ms=1e3 * median, ms_low=1e3 * low, ms_high=1e3 * high,
            per_second=setting.batch / median, gmacs=self.macs / 1e9, share_of_rate=share,
            peak_mib=self.peak / 2**20)


def _fill_memories(model):
    """What a hook does before a real training."""
    for part in model.modules():
        if isinstance(part, FeatureBank):
            part.set_labels(torch.randint(2, part.labels.shape))


def _autocast(setting):
    if setting.dtype == 'float32':
        return contextlib.nullcontext()
    return torch.autocast(setting.device, dtype=getattr(torch, setting.dtype))


def _predict_step(model, setting):
    model.eval()
    if setting.compile:
        model.compile()

    def step(batch):
        with torch.inference_mode(), _autocast(setting):
            return model.test_step(batch)

    return step


def _train_step(model, setting):
    model.train()
    if setting.compile:
        model.compile()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = OptimWrapper(torch.optim.AdamW(trained, lr=1e-6))

    def step(batch):
        data = model.data_preprocessor(batch, True)
        with _autocast(setting):
            losses = model(**data, mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer.update_params(loss)

    return step


def time_repeatedly(action, seconds, device='cpu', warmup=2) -> list[float]:
    """Seconds of each run of ``action``, repeated for about ``seconds``, at least three times."""
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


def matrix_rate(device='cpu', dtype='float32', side=None) -> float:
    """Floating-point operations per second of one large matrix product: the practical limit."""
    side = side or (8192 if device == 'cuda' else 2048)
    a = torch.randn(side, side, device=device, dtype=getattr(torch, dtype))
    return 2 * side**3 / min(time_repeatedly(lambda: a @ a, 0.5, device))


def _quartiles(times):
    if len(times) < 4:
        return min(times), statistics.median(times), max(times)
    low, median, high = statistics.quantiles(times, n=4)
    return low, median, high


def _forget_peak(device):
    """Starts the measurement of a peak; returns the bytes that earlier measurements still hold."""
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


def describe_machine(device) -> dict:
    """What a table of figures must say about where they were measured."""
    name = torch.cuda.get_device_name() if device == 'cuda' else _cpu_name()
    info = dict(device=name, threads=torch.get_num_threads(), torch=torch.__version__,
                python=platform.python_version(), gflops=matrix_rate(device) / 1e9)
    info['text'] = (f'{name}, {info["threads"]} CPU threads, torch {torch.__version__}, Python '
                    f'{info["python"]}; a large float32 matrix product reaches '
                    f'{info["gflops"]:.0f} GFLOP/s')
    return info


def _cpu_name():
    try:
        with open('/proc/cpuinfo') as lines:
            return next(line.split(':')[1].strip() for line in lines if 'model name' in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
