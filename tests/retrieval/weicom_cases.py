"""The recorded PatternCom cases: features, prompts' features and tables, made from their names."""

from pathlib import Path

import torch
import torch.nn.functional as F

from rs_mm.datasets.patterncom import read_table
from tests import fill
from tests.parity import ROOT

FOLDER = ROOT / 'weicom'
DIM = 64


def archive_names():
    lines = (FOLDER / 'patternnet.csv').read_text().splitlines()
    return [Path(line.split()[0]).name for line in lines]


def unit(name):
    return F.normalize(torch.from_numpy(fill.normal(name, (1, DIM))))


def prompt_features(prompts):
    return torch.cat([unit(f'weicom/text/{prompt}') for prompt in prompts])


def tables(case):
    return FOLDER / ('quirks/PatternCom' if case == 'patterncom_quirks' else 'PatternCom')


def features(case):
    names = archive_names()
    raw = torch.from_numpy(fill.normal('weicom/feats', (len(names), DIM)))
    if case == 'patterncom_structured':
        place = {name: i for i, name in enumerate(names)}
        for i, name in enumerate(names):
            class_name = name.rstrip('.jpg').rstrip('0123456789')
            raw[i] += 0.8 * torch.from_numpy(fill.normal(f'weicom/class/{class_name}', (1, DIM)))[0]
        for path in sorted(tables(case).glob('*.csv')):
            for row in read_table(path):
                raw[place[row.image]] += 4 * unit(f'weicom/text/{row.value}')[0]
    return F.normalize(raw)
