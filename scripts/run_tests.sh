#!/bin/bash
# Makes .venv if it is missing, installs into it, and runs the linters and every test.
# usage: bash scripts/run_tests.sh [pytest options]
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/python.sh"
cd "$root"
make_venv requirements-dev.txt
"$python" -m ruff check .
"$python" -m ruff format --check .
.venv/bin/lint-imports
.venv/bin/shellcheck scripts/*.sh .ci/run
exec "$python" -m pytest -n 2 --dist loadgroup "$@"
