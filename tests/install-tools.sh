#!/bin/sh
# Installs the programs that tests compare with, from Debian's packages. Without root it says what is missing; the
# tests that need them then skip (and fail in CI).
set -eu
missing=""
command -v bsdtar >/dev/null 2>&1 || missing="$missing libarchive-tools"
command -v xxhsum >/dev/null 2>&1 || missing="$missing xxhash"
command -v zstd >/dev/null 2>&1 || missing="$missing zstd"
{ command -v chromium-headless-shell || command -v chromium || command -v google-chrome || command -v google-chrome-stable; } >/dev/null 2>&1 ||
    missing="$missing chromium-headless-shell"
command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || missing="$missing nginx-light"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0
fi
echo "missing, so the tests that need them will skip:$missing (apt-get install$missing)" >&2
