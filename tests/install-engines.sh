#!/bin/sh
# Installs the engines that spread work over machines, Ray and Dask, in an environment of their own, with wdstools and what
# their suites need: tests/install-engines.sh DIR. What is there already is kept.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
dir=$1
python=${PYTHON:-python3}

[ -e "$dir/.ready" ] && exit 0
rm -rf "${dir:?}"
"$python" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check "$here[cloud,ray]" boto3==1.44.5 ray==2.60.0 distributed==2026.8.0 pytest==8.4.2
touch "$dir/.ready"
