#!/bin/sh
# Compiles the tests of the formulas alone, without kernels: tests/cpp/build_core.sh OUTPUT [compiler flags]
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
output=$1
shift
"${CXX:-g++}" -std=c++20 -O1 -g1 -Wall -Wextra -ffp-contract=off -I"$root/csrc" -I"$root/tests/cpp" "$@" \
  "$root/tests/cpp/test_core.cpp" -o "$output"
