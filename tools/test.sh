#!/usr/bin/env bash
# Everything that must hold before a change lands: style, build without a warning, every test.
#   tools/test.sh           under half an hour on 2 cores
#   tools/test.sh --fuzz    also a minute of each fuzzer of files from outside, as .ci/run does
#   tools/test.sh --deep    also a minute of every fuzzer, and sanitizer builds
# Installs what it needs (Debian 12, as root or with sudo); can be run again.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
# shellcheck source=tools/dev/lib.sh
. tools/dev/lib.sh

deep=no fuzz=no
case "${1:-}" in
  "") ;;
  --fuzz) fuzz=yes ;;
  --deep) deep=yes fuzz=yes ;;
  *)
    echo "usage: tools/test.sh [--fuzz | --deep]" >&2
    exit 2
    ;;
esac

test_packages=(catch2 clang-format shellcheck python3-pytest python3-zmq python3-jinja2
  python3-numpy python3-tqdm python3-yaml openssl dpkg-dev file iproute2 slurm-wlm munge)
# Packages with which tokenizers are compared, and one that writes GGUF files. They are kept in the build
# folder.
python_packages=(tokenizers==0.21.4 sentencepiece==0.2.0 gguf==0.19.0)
[ "$fuzz" = no ] || test_packages+=(clang libclang-rt-14-dev)
# Clients of `troupe serve` with the packages that they need, and a program that makes requests from the
# server's description. Larger clients are for --deep.
client_packages=(openai==3.57.0 langchain-openai==1.7.4)
checker_packages=(schemathesis==4.32.5)
# TensorBoard, which reads training's event files. Of its dependencies, its reader needs only these two and numpy.
tensorboard_packages=(tensorboard==2.21.0 protobuf==7.36.2 absl-py==2.5.1)
litellm_packages=(litellm==1.110.2)
# Three packages that lm-eval needs exist only as source; for everything else, see install_into.
lm_eval_packages=(--no-binary "sqlitedict,rouge-score,word2number" sqlitedict==2.1.0 rouge-score==0.1.2
  word2number==1.1 'lm-eval[api]==0.4.13' transformers)
# The fuzzers of a model's files; --deep adds those of the wire and of short texts.
file_fuzzers=(gguf_fuzz safetensors_fuzz tokenizer_json_fuzz chat_template_fuzz hf_config_fuzz)

# install_into FOLDER [OPTION]... PACKAGE... installs Python packages in a folder of the build; no
# virtual environment is needed. No package is built here, because a build runs the package's code.
install_into() {
  local folder=$root/build/$1
  shift
  [ "$(cat "$folder/installed" 2>/dev/null)" = "$*" ] && return 0
  rm -rf "$folder"
  /usr/bin/python3 -m pip install --quiet --only-binary :all: --target "$folder" "$@" &&
    echo "$*" >"$folder/installed"
}

check_scripts() {
  shellcheck -x tools/*.sh tools/dev/*.sh .ci/run tools/slurm.sbatch tools/systemd/postinst
}

run_tests() {
  ctest --test-dir "$root/build/$1" --output-on-failure -j "${TROUPE_JOBS:-$(nproc)}" "${@:2}"
}

# Builds only the tests of the rooms: the command's own tests run in the release build, as do all 10,000
# schedules of each kind, which would take longer here than a test may.
test_under_asan() {
  cmake --preset asan-ubsan &&
    cmake --build build/asan-ubsan -j "${TROUPE_JOBS:-$(nproc)}" \
      --target runtime_tests model_tests actors_tests &&
    TROUPE_SIM_SCHEDULES=2000 TROUPE_SIM_HOSTILE=500 \
      run_tests asan-ubsan -R '^(runtime|model|actors):'
}

# ThreadSanitizer does not know how CAF and ZeroMQ synchronise, so only the rooms without them are
# tested, without the tests of the transport, and without the real model, which would take hours.
test_under_tsan() {
  cmake --preset tsan &&
    cmake --build build/tsan -j "${TROUPE_JOBS:-$(nproc)}" --target runtime_tests model_tests &&
    (unset TROUPE_TEST_MODEL && export TSAN_OPTIONS=halt_on_error=1 &&
      run_tests tsan -R '^(runtime|model):' -E '^runtime:(hostile|transport|bad input)')
}

# build_fuzzers NAME...: `troupe_fuzzers` means all of them.
build_fuzzers() {
  cmake --preset fuzz && cmake --build build/fuzz -j "${TROUPE_JOBS:-$(nproc)}" --target "$@"
}

step "install Debian packages" install_packages "${build_packages[@]}" "${test_packages[@]}"
step "install Python packages" install_into python --no-deps "${python_packages[@]}"
step "install clients of the API" install_into clients "${client_packages[@]}"
step "install what checks the API" install_into schemathesis "${checker_packages[@]}"
step "install tensorboard" install_into tensorboard --no-deps "${tensorboard_packages[@]}"
if [ "$deep" = yes ]; then
  step "install litellm" install_into litellm "${litellm_packages[@]}"
  step "install lm-eval" install_into lm-eval "${lm_eval_packages[@]}"
  export TROUPE_API_CASES=1200  # of each endpoint, over 10,000 in all
  export TROUPE_SIM_HOSTILE=10000
fi
step "check rooms and includes" python3 tools/dev/check_rooms.py
step "check format" python3 tools/dev/check_format.py
step "check mutations" python3 tools/dev/mutations.py --check
step "check scripts" check_scripts
# All architectures take minutes of nvcc.
cuda_architectures=()
[ "$deep" = no ] || cuda_architectures=(80 86 89 90a 100)
step "check the GPU's kernels" python3 tools/dev/check_cuda.py "${cuda_architectures[@]}"
echo "   $(tail -n 1 "$log_folder/check_the_GPU_s_kernels.log")"
# The release build and its tests. What quickstart.sh has built is not built again.
step "build (test)" build_preset test release
step "fetch the model" build/release/troupe pull smollm2-135m
step "fetch the encoder" build/release/troupe pull all-minilm-l6-v2
TROUPE_TEST_MODEL=$(build/release/troupe pull smollm2-135m 2>/dev/null)
export TROUPE_TEST_MODEL
if [ "$deep" = yes ]; then
  step "tests under asan-ubsan" test_under_asan
  step "tests under tsan" test_under_tsan
  step "tests of answers that are preempted" env TROUPE_SHARING_ROUNDS=200 \
    build/release/actors_tests "sharing: requests that are preempted at any time have the same bits"
  step "tests without each safeguard" python3 tools/dev/mutations.py
fi
if [ "$fuzz" = yes ]; then
  [ "$deep" = no ] || file_fuzzers=()  # all of them
  step "build the fuzzers" build_fuzzers "${file_fuzzers[@]:-troupe_fuzzers}"
  # A finding of a fuzzer does not prevent the tests from running, and a failed test does not hide a finding.
  step "fuzzers, a minute each" \
    python3 tools/dev/run_fuzzers.py build/fuzz 60 "${file_fuzzers[@]}" || fuzz=failed
fi
echo "== tests$([ "$fuzz" != failed ] || echo '; the fuzzers have failed already, see above')"
run_tests release
[ "$fuzz" != failed ]
