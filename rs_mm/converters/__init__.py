"""Conversion of checkpoints and configs of the original implementations.

Each system has two functions, which take the state dict of an official checkpoint, or a part of it:

- ``convert(state)`` returns the weights with the names of rs_mm;
- ``model_config(state)`` returns the ``model`` of a fitting config.

Example:
    >>> from rs_mm.checkpoint import read_state_dict
    >>> from rs_mm.converters import dsqnet
    >>> from rs_mm.registry import MODELS
    >>> state = read_state_dict('official.pth')
    >>> model = MODELS.build(dsqnet.model_config(state))
    >>> model.load_state_dict(dsqnet.convert(state))
"""
