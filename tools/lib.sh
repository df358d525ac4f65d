# Shared by the scripts in tools/: sourced, not run. Everything is relative to
# the top of the checkout.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
jobs=${RINGSCALE_JOBS:-$(nproc)}
# One compiler cache serves every checkout of the project.
export CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros

packages_build="g++ cmake ninja-build pkg-config ccache mold ca-certificates git
  liburing-dev libssl-dev libsodium-dev liblmdb-dev libnghttp2-dev libzstd-dev
  libcurl4-openssl-dev libsimdjson-dev libyaml-cpp-dev libspdlog-dev libfmt-dev
  libcli11-dev libtomlplusplus-dev libipsec-mb-dev libgtest-dev libbenchmark-dev python3"
packages_test="clang-19 clang-tidy-19 clang-format-19
  libclang-rt-19-dev llvm-19 lld-19 iproute2 iputils-ping nftables iperf3 curl openssl
  nginx-light procps dnsutils qemu-system-x86 busybox-static cpio kmod"

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Installs what is missing of the given Debian packages; says nothing when all is there.
need_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get >/dev/null || die "needs the packages ${missing[*]}; this script can install them on Debian only"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "needs the packages ${missing[*]}; run as root or: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${#missing[@]} packages"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

configure() {
  local preset=$1
  [ -f "build/$preset/build.ninja" ] || cmake --preset "$preset" >"/tmp/ringscale-cmake-$preset.log" 2>&1 ||
    { cat "/tmp/ringscale-cmake-$preset.log" >&2; die "cmake --preset $preset failed"; }
}

# build PRESET [TARGET...]
build() {
  local preset=$1
  shift
  configure "$preset"
  ninja -C "build/$preset" -j "$jobs" "$@"
}
