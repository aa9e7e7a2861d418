# shellcheck shell=bash disable=SC2034
# Sourced by the other scripts: sets `root` and `python`, which is that of .venv if it exists.
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
if [ -x "$root/.venv/bin/python" ]; then
    python=$root/.venv/bin/python
else
    python=${PYTHON:-python3}
fi

usage() {
    sed -n 's/^# usage: /usage: /p; s/^#   /  /p' "$0" >&2
    exit 2
}

# make_venv REQUIREMENTS: makes .venv if it is missing, and installs REQUIREMENTS into it.
make_venv() {
    if [ ! -x "$root/.venv/bin/python" ]; then
        local candidate
        for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.10}; do
            if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
                "$candidate" -m venv "$root/.venv"
                break
            fi
        done
        if [ ! -x "$root/.venv/bin/python" ]; then
            echo "$0: no Python 3.10, 3.11 or 3.12 with venv found; name one with PYTHON=/path/to/python" >&2
            exit 2
        fi
    fi
    python=$root/.venv/bin/python
    echo "installing $1 into $root/.venv"
    "$python" -m pip install --disable-pip-version-check -r "$root/$1" |
        { grep -v '^Requirement already satisfied' || true; }
}
