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
  nginx-light procps dnsutils openssh-client qemu-system-x86 busybox-static cpio kmod"

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

# Go 1.26 or newer, for programs of the field: what is installed, or the toolchain
# as an ordinary Go module, fetched with Debian's Go.
go_toolchain=golang.org/toolchain@v0.0.1-go1.26.6.linux-amd64

go_is_new_enough() {
  local version
  version=$("$1" env GOVERSION 2>/dev/null) || return 1
  [[ $version =~ ^go1\.([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 26 ]
}

find_go() {
  local candidate
  for candidate in go /usr/local/go/bin/go; do
    if command -v "$candidate" >/dev/null && go_is_new_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  need_packages golang-go ca-certificates >&2
  local dir
  dir=$(GOFLAGS=-mod=mod GOTOOLCHAIN=local /usr/bin/go mod download -json "$go_toolchain" |
    sed -nE 's/^\t"Dir": "(.*)",?$/\1/p')
  [ -n "$dir" ] || die "cannot fetch $go_toolchain"
  chmod -R u+w "$dir"
  chmod +x "$dir"/bin/* && find "$dir/pkg/tool" -type f -exec chmod +x {} +
  echo "$dir/bin/go"
}

# build_go_programs FOLDER VERSION PACKAGE...
# Builds commands of a Go module, such as tailscale.com/cmd/tailscaled, into the folder;
# PACKAGE+TAG with that build tag, into a file of that name.
build_go_programs() {
  local target=$1 version=$2 work packages=() package tag
  shift 2
  for package in "$@"; do packages+=("${package%%+*}@$version"); done
  go=${go:-$(find_go)}
  work=$(mktemp -d)
  (
    trap 'rm -rf "$work"' EXIT
    cd "$work"
    export GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0
    "$go" mod init programs >/dev/null 2>&1
    "$go" get "${packages[@]}" >get.log 2>&1 || { tail -n 5 get.log >&2; exit 1; }
    mkdir -p out
    for package in "$@"; do
      tag=${package#"${package%%+*}"}
      "$go" build -o "out/${package##*/}" -tags "${tag#+}" -ldflags '-s -w' "${package%%+*}" ||
        exit 1
    done
    mkdir -p "$target"
    mv out/* "$target/"
  )
}
