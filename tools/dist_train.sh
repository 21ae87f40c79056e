#!/usr/bin/env bash
# Trains on several processes of one or more machines: dist_train.sh CONFIG PROCESSES [options of train.py]
# Several machines: run it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: dist_train.sh CONFIG PROCESSES [options of train.py]" >&2
  exit 2
fi
CONFIG=$1 PROCESSES=$2
shift 2
PYTHONPATH="$(dirname "$0")/..:${PYTHONPATH:-}" \
exec "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
  --master_port="${PORT:-29500}" --nproc_per_node="$PROCESSES" \
  "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
