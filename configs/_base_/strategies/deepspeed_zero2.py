# DeepSpeed, ZeRO stage 2: gradients and optimizer states are spread over the processes. It needs
# requirements/deepspeed.txt, and `optim_wrapper = dict(type='DeepSpeedOptimWrapper')` in the
# experiment that lists this file in its `_base_`.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    zero_optimization=dict(stage=2),
    # DeepSpeed accepts only Adam-like optimizers without this line; it is set for SGD
    config=dict(zero_allow_untested_optimizer=True),
)
