# Fully sharded data parallel: parameters, gradients and optimizer states are spread over the
# processes. Add it to any experiment: `_base_ = ['EXPERIMENT.py', '../_base_/strategies/fsdp.py']`
runner_type = 'FlexibleRunner'
strategy = dict(type='rs_mm.FSDPStrategy')
# for a large backbone: `strategy = dict(units=['backbone'])`, see rs_mm/engine/strategies.py
