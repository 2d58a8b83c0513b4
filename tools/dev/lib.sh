# Shared by quickstart.sh and test.sh: named steps whose output goes to a log. A step that fails says
# so and shows the end of its log. To be sourced, with `root` set to the top of the tree.
# shellcheck shell=bash

log_folder=${TROUPE_LOG_DIR:-$root/build/logs}
mkdir -p "$log_folder"

# The packages that building needs, and no more.
# shellcheck disable=SC2034
build_packages=(
  g++ cmake ninja-build pkg-config ccache mold git ca-certificates python3 python3-pip
  libcaf-dev libzmq3-dev cppzmq-dev libsodium-dev libssl-dev libboost-dev libcereal-dev libhwy-dev libxxhash-dev
  libsqlite3-dev libpcre2-dev libutf8proc-dev nlohmann-json3-dev libtomlplusplus-dev libcli11-dev libspdlog-dev
  libcurl4-openssl-dev)

# One compiler cache serves every preset, because paths in the tree count as relative paths.
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
export CCACHE_SLOPPINESS=pch_defines,time_macros
# With this, a file that is not in the cache is read once, not twice.
export CCACHE_DEPEND=1

# show_progress LOG BEGAN: shows how far a step is, from the last "[17/230] Building x" of its log:
# in place and twice a second on a terminal, elsewhere with a line every half minute. Runs until it is
# killed or the script has ended.
show_progress() {
  local at shown=0
  while sleep 0.5 && kill -0 $$ 2>/dev/null; do
    at=$(tail -c 400 "$1" 2>/dev/null | grep -o '^\[[0-9]*/[0-9]*\] .*' | tail -n 1) || true
    [ -n "$at" ] || continue
    if [ -t 1 ]; then
      printf '\r\033[K   %d s  %.70s' $((SECONDS - $2)) "$at"
    elif [ $((SECONDS - $2 - shown)) -ge 30 ]; then
      shown=$((SECONDS - $2))
      printf '\n   after %d s at %s ' "$shown" "${at%% *}"
    fi
  done
}

# step NAME COMMAND...: runs the command with its output in a log, and shows how far a build is.
step() {
  local name=$1 began=$SECONDS log progress status=0
  shift
  log=$log_folder/$(printf '%s' "$name" | tr -c 'A-Za-z0-9' '_').log
  printf '== %s ... ' "$name"
  : >"$log"
  show_progress "$log" "$began" &
  progress=$!
  "$@" >"$log" 2>&1 </dev/null || status=$?
  kill "$progress" 2>/dev/null
  wait "$progress" 2>/dev/null || true
  [ ! -t 1 ] || printf '\r\033[K== %s ... ' "$name"
  if [ "$status" = 0 ]; then
    printf 'done in %d s\n' $((SECONDS - began))
  else
    printf 'FAILED with exit status %d after %d s\n' "$status" $((SECONDS - began))
    echo "   its last lines (all of it: $log):"
    tail -n 40 "$log" | sed 's/^/   | /'
    return "$status"
  fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs the Debian packages that are missing; uses the network only if one is.
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

# build_preset PRESET [FOLDER [TARGET...]]: builds in build/FOLDER, which has the preset's name if it
# is not given; builds everything if no target is named.
build_preset() {
  local folder=$root/build/${2:-$1}
  cmake --preset "$1" -S "$root" &&
    cmake --build "$folder" -j "${TROUPE_JOBS:-$(nproc)}" ${3:+--target "${@:3}"}
}
