#!/usr/bin/env bash
# Trains under Slurm: slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5) and SRUN_ARGS may be set in the environment.
set -euo pipefail
TOOL=${TOOL:-train}
if [ $# -lt 3 ]; then
  echo "usage: slurm_$TOOL.sh PARTITION JOB_NAME CONFIG [options of $TOOL.py]" >&2
  exit 2
fi
PARTITION=$1 JOB_NAME=$2 CONFIG=$3
shift 3
GPUS=${GPUS:-8} GPUS_PER_NODE=${GPUS_PER_NODE:-8} CPUS_PER_TASK=${CPUS_PER_TASK:-5}
[ "$GPUS" -gt "$GPUS_PER_NODE" ] || GPUS_PER_NODE=$GPUS
if [ $((GPUS % GPUS_PER_NODE)) -ne 0 ]; then
  echo "error: GPUS=$GPUS does not fill machines of GPUS_PER_NODE=$GPUS_PER_NODE; choose a multiple." >&2
  exit 2
fi
PYTHONPATH="$(dirname "$0")/..:${PYTHONPATH:-}" \
exec srun -p "$PARTITION" --job-name="$JOB_NAME" --gres="gpu:$GPUS_PER_NODE" --ntasks="$GPUS" \
  --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="$CPUS_PER_TASK" --kill-on-bad-exit=1 \
  ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$(dirname "$0")/$TOOL.py" "$CONFIG" --launcher slurm "$@"
