#!/usr/bin/env bash
# Trains on several processes of one or more machines: dist_train.sh CONFIG PROCESSES [options of train.py]
# Several machines: run it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
# TERM and USR1 let the run save its state within 30 seconds; the status is then 143 or 138, and
# --resume goes on.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: dist_train.sh CONFIG PROCESSES [options of train.py]" >&2
  exit 2
fi
CONFIG=$1 PROCESSES=$2
shift 2
set -m # the job may be interrupted, which shells else forbid to what runs beside them
PYTHONPATH="$(dirname "$0")/..:${PYTHONPATH:-}" \
"${PYTHON:-python}" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
  --master_port="${PORT:-29500}" --nproc_per_node="$PROCESSES" \
  "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@" &
job=$! told=0 status=0
trap 'told=143; kill -TERM $job' TERM
trap 'told=138; kill -TERM $job' USR1 # torchrun passes TERM on, and knows no USR1
trap 'kill -INT $job' INT
wait $job || status=$?
while kill -0 $job 2>/dev/null; do # a signal ends the waiting, not the job
  status=0
  wait $job || status=$?
done
[ $told -eq 0 ] || status=$told
exit $status
