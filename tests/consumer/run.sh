#!/usr/bin/env bash
# One step of using redlatch from outside: run.sh STEP, with these from the environment:
#   CMAKE        the cmake to use
#   CXX          the compiler
#   SOURCE       redlatch's sources
#   VERSION      its version
#   WITH_SERVER  tests/support/with_server.cpp
#   WORK         a directory for what is built; what is in it is built upon
set -euo pipefail

readonly here=${SOURCE:?}/tests/consumer work_root=${WORK:?}

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# All of redlatch in one unit, which is quick, and shows that it can be built so without a warning.
configure() { "$CMAKE" -G Ninja -S "$1" -B "$2" "-DCMAKE_CXX_COMPILER=$CXX" \
  "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror" \
  -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=0 "${@:3}"; }

# Installs a static or a shared redlatch into $work_root/KIND/prefix, by way of another directory.
# Both are made of the same objects, and so in the same build.
install_() {
  local work=$work_root/$1 build=$work_root/library shared=OFF printed
  [[ $1 == static ]] || shared=ON
  rm -rf "$work/prefix" "$work/installed"
  printed=$(configure "$SOURCE" "$build" -DREDLATCH_BUILD_TESTS=OFF \
    -DREDLATCH_BUILD_EXAMPLES=OFF -DCMAKE_INSTALL_LIBDIR=lib "-DBUILD_SHARED_LIBS=$shared" \
    "-DCMAKE_INSTALL_PREFIX=$work/installed")
  grep -q 'redlatch: TLS is o' <<<"$printed" || fail "not said whether there is TLS: $printed"
  grep -q 'redlatch: hiredis [0-9]' <<<"$printed" || fail "not said which hiredis: $printed"
  "$CMAKE" --build "$build" --parallel 2
  "$CMAKE" --install "$build"
  mv "$work/installed" "$work/prefix"
  ! grep -rIl "$work/installed" "$work/prefix" || fail 'the installed files know where they were'
}

contract() {
  local work=$work_root/$1
  rm -rf "$work/contract"
  configure "$here/contract" "$work/contract" "-DCMAKE_PREFIX_PATH=$work/prefix"
  "$CMAKE" --build "$work/contract"
  # shellcheck disable=SC2016 # with_server sets REDIS_URL
  "$WITH_SERVER" sh -c 'exec "$1" "$REDIS_URL"' sh "$work/contract/lock_contract"
}

# A shared library shows what the headers declare, and nothing of what is behind them.
exports() {
  local names
  names=$(nm -DC --defined-only "$work_root/shared/prefix/lib/libredlatch.so" | cut -d' ' -f3-)
  grep -q 'redlatch::Client::ping()' <<<"$names" || fail "Client::ping is not exported: $names"
  ! grep -E 'redlatch::(detail|protocol)::' <<<"$names" || fail 'the names above should be hidden'
  ! grep -E '^(redis|hi_|sds)' <<<"$names" || fail 'the names above are from hiredis'
}

# All of redlatch in one header, and nothing else of it than the installed headers.
src_hpp() {
  local work=$work_root/src_hpp include=$work_root/static/prefix/include internal
  mkdir -p "$work"
  internal=$(cd "$include/redlatch" && find . -mindepth 2 -type f)
  [[ $internal == ./detail/export.hpp ]] || fail "internal headers are installed: $internal"
  "$CXX" -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
    "$here/one_file.cpp" "-I$include" -lhiredis -pthread -o "$work/one_file"
  asks 'held and released' "$work/one_file"
}

# costs FILE BYTES: what a user's optimised FILE has of code, which is the same at each run.
costs() {
  local object=$work_root/cost.o text
  "$CXX" -std=c++20 -O2 "-I$work_root/static/prefix/include" -c "$here/cost/$1.cpp" -o "$object"
  text=$(size "$object" | awk 'END { print $1 }')
  printf '%s: %s bytes of text\n' "$1" "$text"
  [[ $text -le $2 ]] || fail "$1.cpp compiles to more than $2 bytes of text"
}

# The library has the code of all its classes; with it, they were 78,030 and 287,759 bytes.
cost() {
  costs one_lock 3000
  costs every_class 10000
}

prints_version() {
  local printed
  printed=$("$1")
  [[ $printed == "$VERSION" ]] || fail "printed '$printed', not '$VERSION'"
}

# Inside of a project that has names of its own: once installed, and once from a repository with the
# sources as they are, on the branch that the documents name. That gets one more commit at each run,
# so that the clone made before can be updated. Nothing of redlatch is installed with the program.
foreign() {
  local work=$work_root/foreign installed
  rm -rf "$work"/*/CMakeCache.txt "$work/repository"/* "$work/prefix"  # the cache is looked at
  configure "$here/foreign" "$work/installed" "-DPACKAGE=$work_root/static/prefix"
  mkdir -p "$work/repository"
  cp -r "$SOURCE"/{CMakeLists.txt,cmake,include,src} "$work/repository"
  git -C "$work/repository" init --quiet --initial-branch=main
  git -C "$work/repository" add --all
  git -C "$work/repository" -c user.name=test -c user.email=test@localhost \
    commit --quiet --allow-empty --message=test
  configure "$here/foreign" "$work/fetched" "-DREDLATCH_REPOSITORY=file://$work/repository"
  "$CMAKE" --build "$work/fetched" --parallel 2
  "$CMAKE" --install "$work/fetched" --prefix "$work/prefix"
  prints_version "$work/prefix/bin/foreign_version"
  installed=$(find "$work/prefix" -type f)
  [[ $installed == "$work/prefix/bin/foreign_version" ]] || fail "installed, too: $installed"
}

# asks PATTERN COMMAND...: what the command prints, with a server's URL behind it, fits the pattern.
asks() {
  local printed
  # shellcheck disable=SC2016 # with_server sets REDIS_URL
  printed=$("$WITH_SERVER" sh -c 'exec "$@" "$REDIS_URL"' sh "${@:2}") ||
    fail "${*:2} fails; it printed '$printed'"
  # shellcheck disable=SC2053 # a pattern
  [[ $printed == $1 ]] || fail "${*:2} printed '$printed', not '$1'"
}

# What comes of it when redlatch is built for the system's hiredis and meets 1.x, or the reverse.
with_another_hiredis() {
  case $(pkg-config --modversion hiredis) in
    0.*) echo 'not supported: *hiredis*' ;;
    *) echo pong ;;
  esac
}

# hiredis 1.x in the parent's tree, while the system has another.
vendored() {
  local work=$work_root/vendored
  configure "$here/vendored" "$work" "-DREDLATCH_SOURCE_DIR=$SOURCE"
  "$CMAKE" --build "$work" --parallel 2 --target ping ping_by_another
  asks pong "$work/ping"
  asks "$(with_another_hiredis)" "$work/ping_by_another"
}

# refuses PATTERN ARGUMENT...: tests/consumer/refused is not configured, with an error that fits.
refuses() {
  local work=$work_root/refused printed
  rm -rf "$work"
  ! printed=$(configure "$here/refused" "$work" "${@:2}" 2>&1) || fail "${*:2} is configured"
  printed=$(tr -s '[:space:]' ' ' <<<"$printed")
  # shellcheck disable=SC2053 # a pattern
  [[ $printed == $1 ]] || fail "${*:2} printed $printed"
}

# Found out when a build is configured: headers that are another's, or of another version.
refused() {
  local from_source=-DREDLATCH_SOURCE_DIR=$SOURCE installed=$work_root/static/prefix
  local one=$here/hiredis_1 zero=$work_root/hiredis_0 major
  mkdir -p "$zero"
  cp "$one/read.h" "$zero"
  sed 's/HIREDIS_MAJOR 1/HIREDIS_MAJOR 0/' "$one/hiredis.h" >"$zero/hiredis.h"
  refuses '*has version 1.x, but its header * has version 0.x*' "$from_source" \
    -DSOVERSION=1 "-DINCLUDE_DIR=$zero"
  refuses '*has version 0.x, but its header * has version 1.x*' "$from_source" \
    -DSOVERSION=0.14 "-DINCLUDE_DIR=$one"
  refuses '*not the header read.h that belongs to it*' "$from_source" \
    -DSOVERSION=1 "-DINCLUDE_DIR=$work_root"

  # The package is for the system's hiredis, whatever that is.
  for major in 0 1; do
    [[ $(pkg-config --modversion hiredis) != $major.* ]] || continue
    refuses "*redlatch was built for hiredis *, and this one is of version $major.x*" \
      "-DPACKAGE=$installed" "-DSOVERSION=$major" \
      "-DINCLUDE_DIR=$([[ $major == 0 ]] && echo "$zero" || echo "$one")"
    sed "s/^Version: .*/Version: $major.9/" "$one/hiredis.pc" >"$zero/hiredis.pc"
    ! PKG_CONFIG_PATH=$zero:$installed/lib/pkgconfig pkg-config --static --libs redlatch ||
      fail "pkg-config takes hiredis $major.9"
  done
}

# The compilers that there are, each once.
compilers() {
  local compiler
  for compiler in $(printf '%s\n' "$CXX" g++ clang++ | sort -u); do
    ! command -v "$compiler" >/dev/null || printf '%s\n' "$compiler"
  done
}

# What every program of `compiles` begins with, once for each compiler.
precompile() {
  local compiler work
  for compiler in $(compilers); do
    work=$work_root/calls/$(basename "$compiler")
    mkdir -p "$work"
    printf '#include <redlatch/redlatch.hpp>\n' >"$work/begin.hpp"
    "$compiler" -std=c++20 -Wall -Wextra "-I$work_root/static/prefix/include" \
      -x c++-header "$work/begin.hpp" -o "$work/begin.hpp.gch"
  done
}

# compiles CALL: what each compiler that there is says of a program with this call, if anything.
compiles() {
  local compiler
  printf '%s\n%s\n%s\n%s\n%s\n' 'using namespace redlatch;' \
    'using namespace std::chrono_literals;' \
    '[[maybe_unused]] void call([[maybe_unused]] Client& client, [[maybe_unused]] Quorum& nodes) {' \
    "  $1;" '}' >"$work_root/call.cpp"
  for compiler in $(compilers); do
    printf '== %s: %s\n' "$compiler" "$1"
    "$compiler" -std=c++20 -Wall -Wextra -fsyntax-only "-I$work_root/static/prefix/include" \
      -include "$work_root/calls/$(basename "$compiler")/begin.hpp" "$work_root/call.cpp" 2>&1 || true
  done
}

# says CALL SENTENCE: every compiler says this of the call, within 20 lines.
says() {
  local printed said compiler compilers
  printed=$(compiles "$1")
  mapfile -t compilers < <(grep '^== ' <<<"$printed")
  for compiler in "${compilers[@]}"; do
    said=$(awk -v "from=$compiler" '/^== /{on = ($0 == from); next} on' <<<"$printed")
    [[ $said == *"$2"* ]] || fail "$compiler: not '$2', but: $said"
    [[ $(wc -l <<<"$said") -le 20 ]] || fail "$compiler says more than 20 lines: $said"
  done
}

# What users write by mistake: the compiler's answer is one sentence, and a lock that is dropped at
# once is warned of. Without the first line, the others could mean something else.
calls() {
  local lock='Lock lock(client, "k"'
  precompile
  [[ $(compiles "$lock, 5s, {.ttl = 5s})" | grep -cv '^== ') == 0 ]] || fail 'a good call is refused'
  says "$lock, {.ttl = 5s}, 5s)" 'The options come last'
  says "$lock, LockOptions{}, 5s)" 'LockOptions, last'
  says "$lock, {.ttl = 5})" 'times have a unit'
  says "$lock, 5s, {.ttl = 5})" 'Times have a unit'
  says "$lock, {.ttl = 0.5s})" 'whole ms'
  says "$lock, 5s, {.ttl = 1500us})" 'whole ms'
  says "$lock, 5)" 'Here is a wait'
  says "$lock, ClientOptions{})" 'LockOptions, last'
  says 'Lock lock("redis://localhost", "k")' 'The first argument is a Client'
  says 'Lock lock(Client("redis://localhost"), "k")' 'The first argument is a Client'
  says 'Redlock lock(client, "k")' 'of a Redlock a Quorum'
  says 'Lock lock(client)' 'The key is missing'
  says 'Permit permit(client, "k")' 'of a Permit key, limit'
  says 'MultiLock locks(client, "k")' 'of a MultiLock {key, key}'
  says 'RecursiveLock lock(client, "k", Owner{"me"}, 5)' 'Here is a wait'
  for lock in 'Lock(client, "k")' 'FairLock(client, "k", 5s)' 'ReadLock(client, "k", {.ttl = 5s})' \
    'WriteLock(client, "k", std::stop_token())' 'RecursiveLock(client, "k", std::try_to_lock)' \
    'RecursiveLock(client, "k", Owner{"me"})' 'MultiLock(client, {"k", "l"})' \
    'Permit(client, "k", 3, 5s, std::stop_token())' 'Redlock(nodes, "k")'; do
    says "$lock" nodiscard
  done
}

# Built for the system's hiredis, and run with another.
another_hiredis() {
  local work=$work_root/another_hiredis flags
  mkdir -p "$work"
  flags=$(PKG_CONFIG_PATH=$work_root/static/prefix/lib/pkgconfig \
    pkg-config --static --cflags --libs redlatch)
  "$CXX" -shared -fPIC "$here/hiredis_1/read.cpp" -o "$work/libhiredis_1.so"
  # shellcheck disable=SC2086 # they are several
  "$CXX" -std=c++20 "$here/ping.cpp" -o "$work/ping" $flags
  asks pong "$work/ping"
  asks "$(with_another_hiredis)" env "LD_PRELOAD=$work/libhiredis_1.so" "$work/ping"
}

# A module and its host, each with a static redlatch.
plugin() {
  local work=$work_root/plugin status=0
  configure "$here/plugin" "$work" "-DCMAKE_PREFIX_PATH=$work_root/static/prefix"
  "$CMAKE" --build "$work" --parallel 2
  "$work/host" "$work/libplugin.so" || status=$?
  [[ $status == 0 ]] || fail "host.cpp says what its status $status means"
}

pkg_config() {
  local work=$work_root/$1 flags options=()
  [[ $1 == shared ]] || options+=(--static)
  flags=$(PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig \
    pkg-config --cflags --libs "${options[@]}" redlatch)
  # shellcheck disable=SC2086 # they are several
  "$CXX" -std=c++20 "$here/version.cpp" -o "$work/version" $flags
  LD_LIBRARY_PATH=$work/prefix/lib prints_version "$work/version"
}

case $1 in
  install) install_ "$2" ;;
  *) "$@" ;;
esac
