#!/usr/bin/env bash
# From a bare Debian 12 to an answer: installs what building needs, builds, fetches a small model,
# and lets three daemons on this machine share its layers. As root or with sudo; can be run again.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
# shellcheck source=tools/dev/lib.sh
. tools/dev/lib.sh

troupe=$root/build/release/troupe
model=smollm2-135m

step "install Debian packages" install_packages "${build_packages[@]}"
# The program alone: examples, benches and tests are built by tools/test.sh.
step "build the program (several minutes on two cores, once)" build_preset release release troupe_cli
step "fetch $model" "$troupe" pull "$model"
"$troupe" doctor || true
exec python3 tools/dev/three_daemons.py "$troupe" "$model"
