#!/usr/bin/env bash
# Run tests on an emulated ARM64; docs/arm64.md says more.
#
#     tests/arm64.sh FOLDER [PYTEST ARGUMENTS ...]
#
# The first call fills FOLDER with an ARM64 Debian and the wheels of bitconv's dependencies.
set -euo pipefail

folder=$(mkdir -p "${1:?which folder shall hold the ARM64 system?}" && cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
packages=(numpy numba h5py pytest hypothesis)

if [ ! -f "$folder/complete" ]; then
    debootstrap --foreign --arch=arm64 --variant=minbase \
        --include=python3,libpython3-stdlib,libgomp1 bookworm "$folder/system" "$mirror"
    for archive in "$folder"/system/var/cache/apt/archives/*.deb; do
        dpkg --extract "$archive" "$folder/system"
    done
    platforms=()
    for glibc in 17 24 26 27 28 31 34 35 36; do
        platforms+=(--platform "manylinux_2_${glibc}_aarch64")
    done
    python3 -m pip download --quiet --only-binary=:all: --python-version 3.11 "${platforms[@]}" \
        --platform manylinux2014_aarch64 --dest "$folder/wheels" "${packages[@]}"
    for wheel in "$folder"/wheels/*.whl; do
        python3 -m zipfile --extract "$wheel" "$folder/packages"
    done
    touch "$folder/complete"
fi

# The parallel kernels would otherwise spin while they wait for cores that are not there.
export OMP_WAIT_POLICY=passive
export PYTHONPATH="$PWD:$folder/packages"
exec qemu-aarch64-static -L "$folder/system" "$folder/system/usr/bin/python3.11" -m pytest "$@"
