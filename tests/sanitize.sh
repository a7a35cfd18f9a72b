#!/bin/sh
# Runs the C++ tests, the tests of the operators and the C interface under AddressSanitizer and UndefinedBehaviorSanitizer:
# tests/sanitize.sh PYTHON [arguments of pytest]. All is built in build/sanitize; what is installed stays.
set -e
cd "$(dirname "$0")/.."
python=$1
shift
folder=$PWD/build/sanitize
environment=$folder/environment
# The emulation of CUDA has stacks of its own, which the checks of the stack and of leaks do not know.
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1

mkdir -p "$folder"
flags="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
tests/cpp/build_core.sh "$folder/test_core" $flags
"$folder/test_core"
tests/cpp/build.sh "$folder/test_kernels" $flags
"$folder/test_kernels"

# An environment that sees the packages of the given Python behind a sanitised backmap of its own.
"$python" -m venv --without-pip --clear "$environment"
"$python" -c "import sys; print(*[p for p in sys.path if p.endswith('site-packages')], sep='\n')" \
  >"$("$environment/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")/packages.pth"
"$python" -m pip --python "$environment/bin/python" install --quiet --no-build-isolation --no-deps \
  -C build-dir="$folder/library" -C cmake.define.BACKMAP_SANITIZE=ON -C cmake.define.BACKMAP_CUDA=OFF .

library() { "${CXX:-g++}" -print-file-name="$1"; }
# Without the source folder on the path, where the package is not sanitised; stderr shows what is found.
PYTHONSAFEPATH=1 LD_PRELOAD="$(library libasan.so) $(library libubsan.so) $(library libstdc++.so.6)" \
  "$environment/bin/python" -m pytest -q --capture=sys tests/ops "$@"

# The C interface: right calls, two threads, and ten thousand bad calls.
"$python" -c "
from pathlib import Path
from backmap.export.torchscript import save_torchscript
from tests.export.small import make_model
save_torchscript(Path('$folder/model.ts'), make_model(), {}, '')"
"$python" -m cmake -S tests/capi -B "$folder/capi" -D CMAKE_C_FLAGS="$flags" -D CMAKE_CXX_FLAGS="$flags -fno-sanitize=vptr" \
  -D CMAKE_PREFIX_PATH="$(echo "$environment"/lib/python*/site-packages/backmap)" \
  -D BACKMAP_TORCH_DIR="$("$python" -c "import pathlib, torch; print(pathlib.Path(torch.__file__).parent)")"
"$python" -m cmake --build "$folder/capi" --target test_capi
"$python" -m backmap export alanine-dipeptide -o "$folder/temporal.ts" --overwrite --quiet
for arguments in "fuzz_roll $folder/temporal.ts 3000" "build $folder/model.ts $folder/atoms" "threads $folder/model.ts" "fuzz $folder/model.ts 10000"; do
  "$folder/capi/test_capi" $arguments
done
