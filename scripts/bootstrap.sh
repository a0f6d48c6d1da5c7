#!/usr/bin/env bash
# Installs what a fresh Debian 12 lacks for one of: build, test, check, model. Costs one dpkg-query where
# nothing is missing.
set -euo pipefail

packages="g++ cmake ninja-build nlohmann-json3-dev"
case "${1:-build}" in
  build) ;;
  test) packages+=" libgtest-dev librapidcheck-dev python3 strace util-linux procps xz-utils" ;;
  check) packages+=" libgtest-dev librapidcheck-dev python3 clang clang-tidy clang-format" ;;
  model) packages="spin gcc libc6-dev" ;;
  *) echo "bootstrap: build, test, check or model, not $1" >&2; exit 2 ;;
esac

command -v dpkg-query >/dev/null || { echo "bootstrap: this is no Debian; see scripts/bootstrap.sh for what is needed" >&2; exit 0; }
# shellcheck disable=SC2086
installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' $packages 2>/dev/null || true)"
missing=""
for p in $packages; do
  [[ $installed == *" installed:$p "* ]] || missing+=" $p"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" -ne 0 ]; then
  sudo=$(command -v sudo || true)
  [ -n "$sudo" ] || { echo "bootstrap: missing, and only root can install:$missing" >&2; exit 1; }
fi
echo "bootstrap: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
