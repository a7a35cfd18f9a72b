# Thin: every line below is a command a person could type. `make demo` and `make test` set up what they need.

PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
SOURCES := $(shell git ls-files '*.cpp' '*.h' '*.c' '*.cu')

# How long each fuzz test goes on: ten minutes in all.
SECONDS_OF_FUZZ ?= 12

.PHONY: demo test fuzz sanitize lint docs bench bench-kernels

demo: .venv/installed
	mkdir -p demo
	$(BIN)/backmap reconstruct examples/2bf5.pdb.gz -o demo/2bf5.pdb --samples 5 --overwrite
	$(BIN)/backmap evaluate --reference examples/2bf5.pdb.gz demo/2bf5_1.pdb demo/2bf5_2.pdb demo/2bf5_3.pdb demo/2bf5_4.pdb demo/2bf5_5.pdb
	$(BIN)/backmap reconstruct examples/ww_c_alpha.xtc --top examples/ww_c_alpha.pdb -o demo/ww.xtc --overwrite
	$(BIN)/backmap evaluate --reference examples/ww_c_alpha.xtc --reference-top examples/ww_c_alpha.pdb --top demo/ww.pdb demo/ww.xtc

# The tests of a file stay together, since they share what is expensive to make.
test: .venv/installed-dev lint
	$(BIN)/pytest -q -n auto --dist loadfile

fuzz: .venv/installed-dev
	BACKMAP_FUZZ_SECONDS=$(SECONDS_OF_FUZZ) $(BIN)/pytest -q -m fuzz

sanitize: .venv/installed-dev
	tests/sanitize.sh $(BIN)/python

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(SOURCES)

docs: .venv/installed-docs
	$(BIN)/mkdocs build --strict --site-dir build/site

bench: .venv/installed-dev
	$(BIN)/python benchmarks/quality.py --structures ../shared/data/pdb/test-dev --samples 5
	$(BIN)/pip install --quiet pypulchra==1.0.1
	$(BIN)/python benchmarks/speed.py --json benchmarks/results/speed.json
	$(BIN)/python docs/write_speed.py

bench-kernels: .venv/installed-dev
	$(BIN)/python benchmarks/kernels.py --threads 1 2

# torch comes first and alone, so that nothing after it chooses another build of it. CUDA kernels are compiled
# if nvcc is found. What else is called `backmap`, another project or this one under its former name, has to go.
.venv/installed: pyproject.toml CMakeLists.txt cmake/backmap-config.cmake.in $(SOURCES) $(shell git ls-files 'backmap/*__init__.py')
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet scikit-build-core pybind11 cmake ninja
	$(BIN)/pip uninstall -qq --yes backmap
	$(BIN)/pip install --quiet --no-build-isolation -e .
	touch $@

# The extras of what is installed already, so that nothing is built again. Formatters and linters are pinned here:
# another version would format otherwise.
.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet 'backmap-md[dev]' ruff==0.17.5 mypy==2.4.1 clang-format==23.1.5
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/pip install --quiet 'backmap-md[docs]'
	touch $@
