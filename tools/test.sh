#!/usr/bin/env bash
# Everything that must hold before a change lands: style, build without a warning, every test.
#   tools/test.sh           under half an hour on 2 cores
#   tools/test.sh --deep    also sanitizer builds and one minute of every fuzzer
# Installs what it needs (Debian 12, as root or with sudo); can be run again.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
# shellcheck source=tools/dev/lib.sh
. tools/dev/lib.sh

deep=no
case "${1:-}" in
  "") ;;
  --deep) deep=yes ;;
  *)
    echo "usage: tools/test.sh [--deep]" >&2
    exit 2
    ;;
esac

test_packages=(catch2 clang-format shellcheck python3-pytest python3-zmq python3-jinja2
  python3-numpy python3-tqdm python3-yaml)
# What tokenizers are compared with, and what writes GGUF files, in a folder of the build.
python_packages=(tokenizers==0.21.4 sentencepiece==0.2.0 gguf==0.19.0)
[ "$deep" = no ] || test_packages+=(clang libclang-rt-14-dev)

# Needs no virtual environment: the packages need no others, and lie beside the builds.
install_python_packages() {
  local folder=$root/build/python
  [ "$(cat "$folder/installed" 2>/dev/null)" = "${python_packages[*]}" ] && return 0
  rm -rf "$folder"
  /usr/bin/python3 -m pip install --quiet --no-deps --only-binary :all: --target "$folder" \
    "${python_packages[@]}" && echo "${python_packages[*]}" >"$folder/installed"
}

check_scripts() {
  shellcheck -x tools/*.sh tools/dev/*.sh .ci/run
}

run_tests() {
  ctest --test-dir "$root/build/$1" --output-on-failure -j "${TROUPE_JOBS:-$(nproc)}" "${@:2}"
}

# ThreadSanitizer does not know what CAF and ZeroMQ synchronise: only the rooms without them.
test_under_tsan() {
  cmake --preset tsan && cmake --build build/tsan --target runtime_tests model_tests &&
    TSAN_OPTIONS=halt_on_error=1 run_tests tsan -R '^(runtime|model): ' -E 'zmq'
}

run_fuzzers() {
  cmake --preset fuzz && cmake --build build/fuzz --target troupe_fuzzers &&
    python3 tools/dev/run_fuzzers.py build/fuzz 60
}

step "install Debian packages" install_packages "${build_packages[@]}" "${test_packages[@]}"
step "install Python packages" install_python_packages
step "check rooms and includes" python3 tools/dev/check_rooms.py
step "check format" python3 tools/dev/check_format.py
step "check scripts" check_scripts
# The release build and its tests: what quickstart.sh built is not built again.
step "build (test)" build_preset test release
step "fetch the model" build/release/troupe pull smollm2-135m
TROUPE_TEST_MODEL=$(build/release/troupe pull smollm2-135m 2>/dev/null)
export TROUPE_TEST_MODEL
if [ "$deep" = yes ]; then
  step "build (asan-ubsan)" build_preset asan-ubsan
  step "tests under asan-ubsan" run_tests asan-ubsan -E '^e2e: '
  step "tests under tsan" test_under_tsan
  step "fuzzers, a minute each" run_fuzzers
fi
echo "== tests"
run_tests release
