#!/bin/sh
# Compiles the tests of the kernels without torch, a file per core: tests/cpp/build.sh OUTPUT [compiler flags]
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
output=$1
shift
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
common="-std=c++20 -O1 -g1 -Wall -Wextra -Wno-unknown-pragmas -ffp-contract=off -fopenmp -DBACKMAP_NO_CLONES"
compile() {
  xargs -P "$(nproc)" -I{} sh -c 'object=$1$(basename "$2").o; source=$2; shift 2; "$@" -c "$source" -o "$object"' \
    sh "$objects/$1" {} "${CXX:-g++}" $common -I"$root/csrc" -I"$root/tests/cpp" $flags
}
flags="$*"
printf '%s\n' "$root"/csrc/cpu/*.cpp "$root"/tests/cpp/test_kernels.cpp | compile cpu_
flags="$* -DBACKMAP_CUDA_ON_CPU -x c++"
printf '%s\n' "$root"/csrc/cuda/*.cu | compile cuda_
"${CXX:-g++}" "$@" -fopenmp "$objects"/*.o -o "$output"
