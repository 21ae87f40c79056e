# Sourced by demo.sh and run_tests.sh: makes .venv beside the repository's README if there is none,
# installs what requirements/ names at the versions of requirements/constraints.txt, and leaves the
# interpreter in $PYTHON. Does nothing the second time.
#
# RS_MM_PYTHON=python3.12 chooses the interpreter of a new .venv. For trying other versions, see
# tests/environments/run.py: RS_MM_VENV names another folder than .venv, RS_MM_CONSTRAINTS another
# file of versions, and RS_MM_EXTRAS the optional parts, e.g. "geo export".

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
VENV=${RS_MM_VENV:-$ROOT/.venv}
PYTHON=$VENV/bin/python
SETUP_LOG=$VENV-setup.log
CONSTRAINTS=${RS_MM_CONSTRAINTS:-requirements/constraints.txt}
EXTRAS=${RS_MM_EXTRAS-geo index milvus page export docs}

fail() { echo "error: $*" >&2; exit 1; }

supported() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${RS_MM_PYTHON:-python3.12 python3.13 python3.11 python3.14 python3.10 python3 python}; do
    if supported "$candidate"; then echo "$candidate"; return; fi
  done
  fail "no Python from 3.10 to 3.14 was found; install one, or name it: RS_MM_PYTHON=/path/to/python bash $0"
}

# What a step prints goes to the log; if it fails, its last error line is shown.
step() {
  local what=$1; shift
  echo "  $what"
  if ! "$@" >>"$SETUP_LOG" 2>&1; then
    local reason
    reason=$(grep -E '^ *(ERROR|error|fatal|[A-Za-z.]*Error):' "$SETUP_LOG" | tail -n 1)
    fail "$what failed: ${reason:-see the log} (whole log: $SETUP_LOG)"
  fi
}

setup_env() {
  local wanted
  wanted=$(cat requirements/*.txt setup.py tools/setup_env.sh | cksum)
  if [ -x "$PYTHON" ] && [ "$(cat "$VENV/.installed" 2>/dev/null)" = "$wanted" ]; then return; fi
  : >"$SETUP_LOG"
  echo "Setting up $VENV (once; a few minutes, mostly downloads):"
  if ! [ -x "$PYTHON" ]; then
    local base
    base=$(find_python) || exit 1
    step "making the environment with $("$base" --version 2>&1)" "$base" -m venv "$VENV"
  fi
  supported "$PYTHON" || fail "$VENV holds $("$PYTHON" --version 2>&1), and 3.10 to 3.14 are supported; delete the folder and run again"
  local pip="$PYTHON -m pip install --no-input --disable-pip-version-check -c $CONSTRAINTS"
  local extra extras=()
  for extra in $EXTRAS; do extras+=(-r "requirements/$extra.txt"); done
  step "installing torch and torchvision" $pip torch torchvision
  step "installing the mm packages" $pip -r requirements/mminstall.txt
  # servers often lack libGL, which the OpenCV with windows needs
  if ! "$PYTHON" -c 'import cv2' >>"$SETUP_LOG" 2>&1; then
    step "replacing OpenCV by its build without windows" \
      sh -c "$PYTHON -m pip uninstall -y opencv-python && $pip opencv-python-headless"
  fi
  step "installing rs_mm and what it needs" $pip -r requirements/runtime.txt \
    -r requirements/optional.txt -r requirements/tests.txt "${extras[@]}" -e .
  step "trying the imports" "$PYTHON" -c 'import torchvision, cv2, rs_mm.models'
  echo "$wanted" >"$VENV/.installed"
}

setup_env
