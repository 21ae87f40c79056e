#!/usr/bin/env bash
# Tests on several processes of one or more machines: dist_test.sh CONFIG [CHECKPOINT] PROCESSES [options of test.py]
# A training-free config has no checkpoint: leave it out.
# Several machines: run it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
if [[ ${2:-} =~ ^[0-9]+$ && ! -e $2 ]]; then
  set -- "$1" "" "${@:2}"
fi
if [ $# -lt 3 ]; then
  echo "usage: dist_test.sh CONFIG [CHECKPOINT] PROCESSES [options of test.py]" >&2
  exit 2
fi
CONFIG=$1 CHECKPOINT=$2 PROCESSES=$3
shift 3
TARGETS=("$CONFIG" ${CHECKPOINT:+"$CHECKPOINT"})
PYTHONPATH="$(dirname "$0")/..:${PYTHONPATH:-}" \
exec "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
  --master_port="${PORT:-29500}" --nproc_per_node="$PROCESSES" \
  "$(dirname "$0")/test.py" "${TARGETS[@]}" --launcher pytorch "$@"
