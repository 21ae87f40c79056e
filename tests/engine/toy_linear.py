"""A model without batch norm, whose gradient is the mean over its samples."""

from torch import nn

from rs_mm.registry import MODELS
from tests.toy import ToyModel


@MODELS.register_module()
class ToyLinear(ToyModel):
    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
