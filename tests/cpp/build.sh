#!/bin/sh
# Compiles the tests of the kernels without torch: tests/cpp/build.sh OUTPUT [compiler flags]
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
output=$1
shift
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
flags="-std=c++20 -O1 -g1 -Wall -Wextra -Wno-unknown-pragmas -ffp-contract=off -fopenmp -I$root/csrc -I$root/tests/cpp -DBACKMAP_NO_CLONES"
for source in "$root"/csrc/cpu/*.cpp "$root"/tests/cpp/test_kernels.cpp; do
  "${CXX:-g++}" $flags "$@" -c "$source" -o "$objects/cpu_$(basename "$source").o"
done
for source in "$root"/csrc/cuda/*.cu; do
  "${CXX:-g++}" $flags "$@" -DBACKMAP_CUDA_ON_CPU -x c++ -c "$source" -o "$objects/cuda_$(basename "$source").o"
done
"${CXX:-g++}" "$@" -fopenmp "$objects"/*.o -o "$output"
