# Shared by quickstart.sh, test.sh: named steps whose output goes to a log; a failing step says
# which it is and shows the log's tail. Sourced, with `root` set to the top of the tree.
# shellcheck shell=bash

log_folder=${TROUPE_LOG_DIR:-$root/build/logs}
mkdir -p "$log_folder"

# The packages that building needs, and no more.
# shellcheck disable=SC2034
build_packages=(
  g++ cmake ninja-build pkg-config ccache mold git ca-certificates python3 python3-pip
  libcaf-dev libzmq3-dev cppzmq-dev libsodium-dev libssl-dev libcereal-dev libhwy-dev libxxhash-dev
  libsqlite3-dev libpcre2-dev libutf8proc-dev nlohmann-json3-dev libtomlplusplus-dev libcli11-dev libspdlog-dev
  libcurl4-openssl-dev)

# One compiler cache for every preset: paths in the tree count as relative ones.
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
export CCACHE_SLOPPINESS=pch_defines,time_macros

# step NAME COMMAND...: runs it quietly.
step() {
  local name=$1 began=$SECONDS log
  shift
  log=$log_folder/$(printf '%s' "$name" | tr -c 'A-Za-z0-9' '_').log
  printf '== %s ... ' "$name"
  if "$@" >"$log" 2>&1 </dev/null; then
    printf 'done in %d s\n' $((SECONDS - began))
  else
    local status=$?
    printf 'FAILED with exit status %d after %d s\n' "$status" $((SECONDS - began))
    echo "   its last lines (all of it: $log):"
    tail -n 40 "$log" | sed 's/^/   | /'
    return "$status"
  fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian packages that are not there yet; asks the network only if one is missing.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
      missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    echo "these Debian packages are missing and need root: apt-get install ${missing[*]}"
    return 1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    "${missing[@]}"
}

# build_preset PRESET [FOLDER]: below build/; the folder has the preset's name unless given.
build_preset() {
  cmake --preset "$1" -S "$root" &&
    cmake --build "$root/build/${2:-$1}" -j "${TROUPE_JOBS:-$(nproc)}"
}
