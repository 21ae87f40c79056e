"""Samplers, loops, hooks and other parts of a run; importing this package registers them."""

from . import (  # noqa: F401
    amp,
    composed_retrieval_loop,
    counted_poly_lr,
    distributed_wrapper,
    feature_extraction,
    hooks,
    label_samplers,
    layer_decay,
    loops,
    samplers,
    strategies,
    weight_bias_groups,
)
