# Shared by all experiments. A schedule inherits this file (`_base_ = '../default_runtime.py'`)
# and overrides single entries by their names; the visualizer comes with the dataset.
default_scope = 'rs_mm'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4000, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    throughput=dict(type='ThroughputHook'),
    numeric_guard=dict(type='NumericGuardHook', interval=10),
    # a trace of 5 iterations: `--cfg-options default_hooks.profiler.iterations=5`
    profiler=dict(type='ProfilerHook', iterations=0),
    # `tools/test.py --show-dir` switches it on
    visualization=dict(type='SampleVisualizationHook'),
)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # on a machine without CUDA the tools use gloo
    dist_cfg=dict(backend='nccl'),
)

torch_cfg = dict(
    # TF32 would keep 10 bits of mantissa; rankings by similarity need all 23
    tf32=dict(convolutions=True, products=False),
    # 10 to 25 % faster on a CPU; see rs_mm/engine/host_memory.py
    keep_freed_memory=True,
)
# convolutions in the layout that tensor cores prefer; tools/analysis_tools/benchmark.py measures it
channels_last = False

log_processor = dict(by_epoch=False)
log_level = 'INFO'
# the seed of every random draw of a run
randomness = dict(seed=0)
load_from = None
resume = False
