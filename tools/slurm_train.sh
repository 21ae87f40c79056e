#!/usr/bin/env bash
# Trains under Slurm: slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
# Submits a job that is queued again when it is preempted or its time is over, and then goes on with
# --resume. Inside an allocation (salloc, sbatch) it runs there instead.
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), GRACE (180: seconds before the time limit at which
# the run saves its state), SBATCH_ARGS and SRUN_ARGS may be set in the environment.
set -euo pipefail
TOOL=${TOOL:-train}
if [ $# -lt 3 ]; then
  echo "usage: slurm_$TOOL.sh PARTITION JOB_NAME CONFIG [options of $TOOL.py]" >&2
  exit 2
fi
TOOLS=$(cd "$(dirname "$0")" && pwd)
PARTITION=$1 JOB_NAME=$2 CONFIG=$3
GPUS=${GPUS:-8} GPUS_PER_NODE=${GPUS_PER_NODE:-8} CPUS_PER_TASK=${CPUS_PER_TASK:-5}
[ "$GPUS" -gt "$GPUS_PER_NODE" ] || GPUS_PER_NODE=$GPUS
if [ $((GPUS % GPUS_PER_NODE)) -ne 0 ]; then
  echo "error: GPUS=$GPUS does not fill machines of GPUS_PER_NODE=$GPUS_PER_NODE; choose a multiple." >&2
  exit 2
fi
PLACES=(--gres="gpu:$GPUS_PER_NODE" --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE"
  --cpus-per-task="$CPUS_PER_TASK")

if [ "$TOOL" = train ] && [ -z "${SLURM_JOB_ID:-}" ]; then
  # USR1 goes to the processes of the run, which save their state and end with status 138
  exec sbatch -p "$PARTITION" --job-name="$JOB_NAME" "${PLACES[@]}" --requeue \
    --signal="USR1@${GRACE:-180}" --open-mode=append --export=ALL,RS_MM_REQUEUE=1 \
    ${SBATCH_ARGS:-} --wrap "$(printf '%q ' bash "$TOOLS/slurm_train.sh" "$@")"
fi

shift 3
[ "$TOOL" != train ] || [ "${SLURM_RESTART_COUNT:-0}" -eq 0 ] || set -- "$@" --resume
status=0
PYTHONPATH="$TOOLS/..:${PYTHONPATH:-}" \
srun -p "$PARTITION" --job-name="$JOB_NAME" "${PLACES[@]}" --kill-on-bad-exit=1 \
  ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$TOOLS/$TOOL.py" "$CONFIG" --launcher slurm "$@" || status=$?
# 138 and 143: the run was told to end (USR1, TERM) and has saved its state
if [ -n "${RS_MM_REQUEUE:-}" ] && { [ "$status" -eq 138 ] || [ "$status" -eq 143 ]; }; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
