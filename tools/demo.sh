#!/usr/bin/env bash
# From nothing to a trained change detector and its pictures, in a few minutes on a CPU.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"

DATA=data/demo_levir_cd
CONFIG=configs/demo/dsqnet_swin_demo.py
WORK=work_dirs/demo

if ! [ -e "$DATA/.complete" ]; then
  echo "Generating image pairs in LEVIR-CD's layout in $DATA"
  rm -rf "$DATA"
  "$PYTHON" tools/dataset_converters/make_fake.py levir_cd "$DATA"
  touch "$DATA/.complete"
fi

rm -rf "$WORK"
mkdir -p "$WORK"
# The log is on the screen while it trains; the tests' logs lie in their folders.
quietly() {
  if ! "$@" >"$WORK/test.log" 2>&1; then
    tail -n 5 "$WORK/test.log" >&2
    fail "this command failed: $*"
  fi
}
echo "Testing the untrained model"
quietly "$PYTHON" tools/test.py "$CONFIG" --work-dir "$WORK/untrained" --out "$WORK/untrained.json"
echo "Training (about two minutes on two CPU cores)"
"$PYTHON" tools/train.py "$CONFIG" --work-dir "$WORK" || fail "the training failed, see above"
CHECKPOINT=$WORK/$(basename "$(cat "$WORK/last_checkpoint")")
echo "Testing the trained model and drawing its results"
quietly "$PYTHON" tools/test.py "$CONFIG" "$CHECKPOINT" --work-dir "$WORK/trained" \
  --out "$WORK/trained.json" --show-dir "$WORK/pictures"

"$PYTHON" - "$WORK" "$CONFIG" "$CHECKPOINT" <<'END'
import json
import sys
from pathlib import Path

work, config, checkpoint = Path(sys.argv[1]), *sys.argv[2:]
before, after = (json.loads((work / f'{name}.json').read_text()) for name in ('untrained', 'trained'))
pictures = sorted((work / 'pictures').glob('*.png'))
python = '.venv/bin/python'
print(f'''
Changed pixels, in percent     untrained   trained
  F1                           {before['F1_changed']:9.2f} {after['F1_changed']:9.2f}
  IoU                          {before['IoU_changed']:9.2f} {after['IoU_changed']:9.2f}

The pictures: {len(pictures)} files like {pictures[0]}

What to try next:
  {python} tools/train.py {config} --work-dir {work}/64 --cfg-options train_cfg.max_iters=60
  {python} tools/test.py {config} {checkpoint} --tta
  {python} tools/analysis_tools/browse_dataset.py {config} --out {work}/augmented''')
END
