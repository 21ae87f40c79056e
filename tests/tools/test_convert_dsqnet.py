"""An official checkpoint becomes ours, and nothing of it is lost or mixed up."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.runner import load_checkpoint

from rs_mm.converters.dsqnet_names import rename_official_dsqnet
from tests.models.dsqnet_cases import build_case, check, normalised_pair, official_state
from tests.parity import load_case

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _one_thread(_seed):
    torch.set_num_threads(1)  # steps this small are slower on several


def run_tool(*args):
    return subprocess.run(
        [sys.executable, 'tools/model_converters/dsqnet.py', *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@torch.no_grad()
def test_official_checkpoint(tmp_path):
    """File in the official form -> tool -> our model gives the recorded logits."""
    case = load_case('dsqnet', 'dsqnet_swin_256_c64_eval')
    state, _ = official_state('dsqnet_swin_c64')
    index = torch.zeros(49, 49, dtype=torch.long)
    state['backbone.layers.0.blocks.0.attn.relative_position_index'] = index
    torch.save(dict(state_dict=state, meta=dict(epoch=1)), tmp_path / 'official.pth')
    result = run_tool(tmp_path / 'official.pth', tmp_path / 'ours.pth')
    assert result.returncode == 0, result.stderr
    assert '11 unused dropped' in result.stdout
    model = build_case('dsqnet_swin_c64')
    for parameter in model.parameters():
        parameter.zero_()
    load_checkpoint(model, str(tmp_path / 'ours.pth'), strict=False)
    check(case, dict(logits=model(normalised_pair(case[0]['inputs']))))


@pytest.mark.parametrize('name', ['dsqnet_swin_c128', 'dsqnet_vitae_c64'])
def test_there_and_again(name):
    """Every kept value appears once under our names; converting again changes nothing."""
    state, _ = official_state(name)
    ours, dropped = rename_official_dsqnet(state)
    assert len(ours) == len(state) - len(dropped)
    kept = sorted(value.double().sum().item() for key, value in state.items() if key not in dropped)
    torch.testing.assert_close(sorted(value.double().sum().item() for value in ours.values()), kept)
    again, dropped = rename_official_dsqnet(ours)
    assert not dropped
    assert again.keys() == ours.keys()
    assert all(again[key] is ours[key] for key in ours if 'downsample' not in key)
    assert all(torch.equal(again[key], ours[key]) for key in ours)


def test_other_checkpoints_are_refused(tmp_path):
    torch.save({'fc.weight': torch.zeros(2)}, tmp_path / 'other.pth')
    result = run_tool(tmp_path / 'other.pth', tmp_path / 'ours.pth')
    assert result.returncode == 2
    assert 'not of DSQNet' in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    result = run_tool(tmp_path / 'none.pth', tmp_path / 'ours.pth')
    assert result.returncode == 2
    assert 'none.pth' in result.stderr
