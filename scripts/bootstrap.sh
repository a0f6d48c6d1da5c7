#!/bin/sh
# Sees to it that what a make target needs is there: bootstrap.sh build | test | check | bench | model
#
# What is there already is never touched and costs no process at all: a tool is looked for on the
# PATH, a library by its header. Only what is missing is installed, with apt-get, as root or through
# sudo. Anywhere else it says in one line what to install.
set -u

# Package and what shows that it is there: a command, a header (looked for where compilers look), or a
# library.
build='make:make g++:c++ cmake:cmake ninja-build:ninja nlohmann-json3-dev:nlohmann/json.hpp'
test='libgtest-dev:gtest/gtest.h librapidcheck-dev:rapidcheck.h python3:python3 strace:strace
  util-linux:setsid procps:ps xz-utils:xz libsqlite3-0:libsqlite3.so.0'
check='clang:clang++ clang-tidy:clang-tidy clang-format:clang-format'

case ${1-} in
  build) wanted=$build ;;
  test) wanted="$build $test" ;;
  check) wanted="$build $test $check" ;;
  bench) wanted="$build python3:python3" ;;
  model) wanted='spin:spin gcc:gcc' ;;
  *) echo "usage: ${0##*/} build|test|check|bench|model" >&2; exit 2 ;;
esac

there() {
  case $1 in
    *.h | *.hpp)
      IFS=:
      for folder in ${CPLUS_INCLUDE_PATH-} ${CPATH-} /usr/local/include /usr/include; do
        [ -e "$folder/$1" ] && { unset IFS; return 0; }
      done
      unset IFS
      return 1 ;;
    *.so.*)
      for folder in /usr/local/lib /usr/lib /lib /usr/lib64 /usr/lib/*-linux-gnu*; do
        [ -e "$folder/$1" ] && return 0
      done
      return 1 ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}

missing=
for item in $wanted; do
  there "${item#*:}" || missing="$missing ${item%%:*}"
done
[ -n "$missing" ] || exit 0

fail() {
  echo "berth: missing:$missing ($1)" >&2
  exit 1
}

command -v apt-get >/dev/null 2>&1 || fail "there is no apt-get here: install what your system calls these"
as_root=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null 2>&1 || fail "as root: apt-get install$missing"
  as_root=sudo
  [ -t 0 ] || as_root='sudo -n'
fi

apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@" >&2; }
# Unquoted on purpose below: a list of words.
install() { apt install --no-install-recommends $missing; }
update() { apt update; }

echo "berth: installing$missing" >&2
# A machine that has never fetched its package lists fails at once; one whose lists are old, at the
# download. Both are cured by fetching them.
install || { update && install; } || fail "apt-get could not install them; see above"
