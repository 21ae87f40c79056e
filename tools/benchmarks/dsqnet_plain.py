"""DSQNet computed as in the official code, with our modules and weights.

The numbers must be equal; ``tools/benchmarks/dsqnet.py`` compares the times. Per
date: the backbone, the pyramid, the query. Attention with explicit scores over padded windows,
maps and tokens copied from one layout to the other, RoIAlign computed twice, one window at a time.
"""

from types import MethodType

import torch
import torch.nn.functional as F
from mmseg.models.backbones.swin import SwinTransformer as MMSegSwin
from mmseg.models.segmentors import EncoderDecoder
from torchvision.ops import roi_align

from rs_mm.models.backbones import SwinTransformer
from rs_mm.models.backbones.vitae_v2 import (
    MLP,
    Attention,
    NormalCell,
    PyramidReduction,
    ReductionCell,
    Stage,
    ViTAE_Window_NoShift_basic,
)
from rs_mm.models.necks import BMQ, DSP


def make_plain(model):
    """Changes ``model`` (a SiamEncoderDecoder) to the official computation; returns it."""
    model.extract_feat = MethodType(_extract_feat, model)
    model.slide_inference = MethodType(EncoderDecoder.slide_inference, model)
    model.encode_decode = MethodType(EncoderDecoder.encode_decode, model)
    model.decode_head.fuse = MethodType(_fuse, model.decode_head)
    for module in model.modules():
        for kind, forward in _FORWARDS.items():
            if isinstance(module, kind):
                module.forward = MethodType(forward, module)
    return model


def _extract_feat(self, inputs):
    first, second = inputs.chunk(2, 1)
    return self.neck(self.backbone(first), self.backbone(second))


def _fuse(self, inputs):
    dates = zip(*(stage.chunk(2, 1) for stage in inputs))
    maps, semantics = zip(*(self.dsp(date) for date in dates))
    maps = self.bmq(maps, semantics)
    return self.fusion(*(self.norm_conv(x) for x in maps))


def _dsp(self, stages):
    semantic = self.semantic(stages[-1])
    out = self.levels[-1](torch.cat([semantic, stages[-1]], 1))
    for level, stage in list(zip(self.levels, stages))[-2::-1]:
        coarse = [
            F.interpolate(x, size=stage.shape[-2:], mode='bilinear', align_corners=False)
            for x in (semantic, out)
        ]
        out = level(torch.cat([*coarse, stage], 1))
    return out, semantic


def _bmq(self, maps, semantics):
    queries = [self.query_conv(x) for x in semantics]
    difference = (queries[0] - queries[1]).mean(1, keepdim=True)
    keys = self.key_generation
    codes = torch.cat([keys.reduce(query + difference) for query in queries], 1)
    boxes = self.boxes(keys.fuse(keys._pool(codes)).flatten(2), maps[0].shape[-2:]).detach()
    contents = []
    for x in reversed(maps):
        points = self.point_grid(_crops(x, boxes))
        content = F.grid_sample(_crops(x, boxes), points, align_corners=False)
        content = content.view(len(x), x.shape[1], -1, 4, 4)
        content = F.interpolate(
            content.flatten(0, 1), size=(8, 8), mode='bilinear', align_corners=False
        )
        contents.append(content.view(len(x), x.shape[1], -1, 64))
    first, second = contents
    relevance = first.mean(-1)[..., :, None] @ second.mean(-1)[..., None, :]
    second, first = relevance.softmax(-1) @ second, relevance.transpose(2, 3).softmax(-1) @ first
    return [
        x + F.interpolate(y, size=x.shape[-2:], mode='bilinear', align_corners=False)
        for x, y in zip(maps, (first, second))
    ]


def _crops(x, boxes):
    return roi_align(x, list(boxes), 7, 1.0, -1, True)


def _stage(self, x):
    x, size = self.RC(x)
    for cell in self.NC:
        x = cell(x, size)
    return x.view(len(x), *size, -1).permute(0, 3, 1, 2).contiguous()


def _reduction_cell(self, x):
    branch = self.PCM(x).flatten(2).transpose(1, 2).contiguous()
    x, size = self.PRM(x)
    attention = self.attn
    x = attention.attn(attention.norm1(x), size) + branch
    return x + attention.mlp(attention.norm2(x)), size


def _pyramid_reduction(self, x):
    x = torch.cat([conv(x) for conv in self.convs], 1)
    return x.flatten(2).transpose(1, 2).contiguous(), x.shape[-2:]


def _normal_cell(self, x, size):
    branch = x.view(len(x), *size, -1).permute(0, 3, 1, 2).contiguous()
    branch = self.PCM(branch).permute(0, 2, 3, 1).contiguous().flatten(1, 2)
    x = x + self.drop_path(self.attn(self.norm1(x), size)) + self.drop_path(branch)
    return x + self.drop_path(self.mlp(self.norm2(x)))


def _attention(self, x, size):
    batch, (height, width) = len(x), size
    if self.window is not None:
        side = self.window
        pad = -width % side, -height % side
        x = F.pad(x.view(batch, height, width, -1), (0, 0, 0, pad[0], 0, pad[1]))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        x = x.view(batch, rows, side, columns, side, -1).permute(0, 1, 3, 2, 4, 5)
        x = x.contiguous().view(-1, side * side, x.shape[-1])
    qkv = self.qkv(x).reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = qkv[0], qkv[1], qkv[2]
    scores = ((query * self.scale) @ key.transpose(-2, -1)).softmax(-1)
    out = self.proj((scores @ value).transpose(1, 2).reshape(*x.shape[:2], -1))
    if self.add_values:
        out = out + value.transpose(1, 2).reshape(out.shape)
    if self.window is not None:
        out = out.view(batch, rows, columns, side, side, -1).permute(0, 1, 3, 2, 4, 5)
        out = out.contiguous().view(batch, rows * side, columns * side, -1)
        out = out[:, :height, :width].contiguous().view(batch, height * width, -1)
    return out


def _mlp(self, x):
    return self.fc2(F.gelu(self.fc1(x)))


def _vitae(self, x):
    outputs = []
    for layer in self.layers:
        x = layer(x)
        outputs.append(x)
    return outputs


_FORWARDS = {
    SwinTransformer: MMSegSwin.forward,
    DSP: _dsp,
    BMQ: _bmq,
    Stage: _stage,
    ReductionCell: _reduction_cell,
    PyramidReduction: _pyramid_reduction,
    NormalCell: _normal_cell,
    Attention: _attention,
    MLP: _mlp,
    ViTAE_Window_NoShift_basic: _vitae,
}
