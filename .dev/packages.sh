# shellcheck shell=bash
# What ./dev needs, how it is recognised, what apt calls it, and how it is installed.
# Sourced by dev, which has `say`, `die` and `quietly`.

readonly unavailable=69  # the exit status of sysexits(3)

needs() {
  local purpose
  for purpose in "$@"; do
    echo g++ cmake ninja hiredis
    case $purpose in
      build) echo gtest openssl python3 sqlite3 ;;
      demo) echo server ;;
      test | asan | tsan) echo git gtest openssl server nutcracker pkg-config python3 python3-redis sqlite3 ;;
      bench) echo server benchmark gnuplot python3 python3-redis ;;
      docs) echo doxygen python3 ;;
      mutants) echo git gtest openssl server python3 sqlite3 ;;
      lint) echo clang++ clang-format clang-tidy openssl shellcheck sqlite3 ;;
      fuzz) echo clang++ clang-runtime ;;
    esac
  done
}

at_least() { [[ -n $2 ]] && printf '%s\n' "$1" "$2" | sort --check=quiet --version-sort; }

has_header() {
  local prefix
  for prefix in ${CMAKE_PREFIX_PATH:+${CMAKE_PREFIX_PATH//:/ }} /usr/local /usr; do
    [[ -e $prefix/include/$1 ]] && return
  done
  return 1
}

has_clang_runtime() {
  clang++ -x c++ -fsanitize=fuzzer,address,undefined -o /dev/null - &>/dev/null \
    <<<'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
}

has() {
  case $1 in
    g++) at_least 11 "$(g++ -dumpfullversion 2>/dev/null)" ;;
    cmake) at_least 3.24 "$(cmake --version 2>/dev/null | sed -n 's/^cmake version //p')" ;;
    hiredis) has_header hiredis/read.h ;;
    gtest) has_header gtest/gtest.h ;;
    openssl) has_header openssl/ssl.h ;;
    sqlite3) has_header sqlite3.h ;;
    benchmark) has_header benchmark/benchmark.h ;;
    server) command -v redis-server || command -v valkey-server ;;
    nutcracker) command -v nutcracker || [[ -x /usr/sbin/nutcracker ]] ;;
    python3) [[ -x /usr/bin/python3 ]] ;;
    python3-redis) /usr/bin/python3 -c 'import redis' ;;
    clang-runtime) has_clang_runtime ;;
    *) command -v "$1" ;;
  esac &>/dev/null
}

package() {
  case $1 in
    ninja) echo ninja-build ;;
    hiredis) echo libhiredis-dev ;;
    gtest) echo libgtest-dev ;;
    openssl) echo libssl-dev ;;
    sqlite3) echo libsqlite3-dev ;;
    benchmark) echo libbenchmark-dev ;;
    gnuplot) echo gnuplot-nox ;;
    server) echo redis-server ;;
    clang++) echo clang ;;
    clang-runtime)
      if has clang++; then
        echo "libclang-rt-$(clang++ -dumpversion | cut -d. -f1)-dev"
      else
        echo libclang-rt-dev
      fi
      ;;
    *) echo "$1" ;;
  esac
}

describe() {
  case $1 in
    g++) echo 'g++ (11 or newer)' ;;
    cmake) echo 'cmake (3.24 or newer)' ;;
    *) echo "$1" ;;
  esac
}

missing() {
  local need
  for need in $(needs "$@" | tr ' ' '\n' | sort -u); do
    has "$need" || echo "$need"
  done
}

# What a command of ./dev begins with. Only install-deps changes the system.
ensure() {
  [[ -n $(missing "$@") ]] || return 0
  ./dev install-deps "$@"
  hash -r
}

# Installs what is missing for these purposes.
install_for() {
  local absent packages need
  restore_abandoned_policy
  mapfile -t absent < <(missing "$@")
  [[ ${#absent[@]} -gt 0 ]] || return 0
  mapfile -t packages < <(for need in "${absent[@]}"; do package "$need"; done)
  if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    die $unavailable "these packages are missing, and only root can install them, with apt:" \
      "${packages[*]}"
  fi
  say "installing by apt, which may take a few minutes: ${packages[*]}"
  install_packages "${packages[@]}"
  hash -r
  mapfile -t absent < <(missing "$@")
  [[ ${#absent[@]} -eq 0 ]] || {
    for need in "${absent[@]}"; do say "apt has no fitting $(describe "$need")"; done
    exit $unavailable
  }
}

# No installed package is upgraded or removed and no service started: policy-rc.d(8) forbids that.
readonly policy=/usr/sbin/policy-rc.d
readonly policy_aside=$policy.aside-by-redlatch
readonly policy_mark='# Written by dev of redlatch while apt runs.'

exists() { [[ -e $1 || -L $1 ]]; }

# Whatever is aside already, or has the mark, was left by a run that was killed.
forbid_services() {
  if ! exists "$policy_aside" && exists "$policy" && ! grep -qsF "$policy_mark" "$policy"; then
    mv -T "$policy" "$policy_aside"
  fi
  rm -f "$policy"
  printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" >"$policy"
  chmod 755 "$policy"
}

restore_policy() {
  if exists "$policy_aside"; then
    mv -fT "$policy_aside" "$policy"
  elif grep -qsF "$policy_mark" "$policy"; then
    rm -f "$policy"
  fi
}

# Of a run that was killed, unless another one is at it.
restore_abandoned_policy() {
  exists "$policy_aside" || grep -qsF "$policy_mark" "$policy" || return 0
  [[ $(id -u) -eq 0 ]] || return 0
  (
    flock 9
    restore_policy
  ) 9</usr/sbin
}

install_packages() {
  exec 9</usr/sbin
  flock 9
  trap restore_policy EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  forbid_services
  run_apt update || say 'apt-get update failed; trying with the lists that are there'
  run_apt install --yes --no-install-recommends --no-upgrade --no-remove "$@" ||
    die $unavailable 'apt-get failed'
  restore_policy
  trap - EXIT HUP INT TERM
  exec 9<&-
}

run_apt() {
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    quietly apt-get -q -o DPkg::Lock::Timeout=300 "$@" 9<&- </dev/null
}
