#!/usr/bin/env bash
# Sets the environment up if needed, runs linter, type checker and tests (which build the docs);
# arguments go to pytest:
#   bash tools/run_tests.sh                     everything that is not slow
#   bash tools/run_tests.sh -m slow             the rest
#   bash tools/run_tests.sh tests/retrieval -k knn
# Two processes or more share the test files, as many as there are cores up to eight; `-n 0` is one.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
source "$here/setup_env.sh"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy
exec "$PYTHON" -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"
