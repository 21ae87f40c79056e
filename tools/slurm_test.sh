#!/usr/bin/env bash
# Tests under Slurm: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5) and SRUN_ARGS may be set in the environment.
TOOL=test exec bash "$(dirname "$0")/slurm_train.sh" "$@"
