# Entry points for people and for CI; the build itself is CMake (CMakePresets.json, cmake/).
#
#   make setup         Debian packages and build/venv with libtorch (does nothing when all is there)
#   make build         the program, build/release/elrea
#   make test          every test program and source check; ends with the number of tests that ran
#   make demo          the whole pipeline on a small model
#   make bench         measurements against peers, written to build/bench.json
#   make asan          the tests under the address and undefined-behaviour sanitizers
#   make format        clang-format over all sources;  make format-check  only looks
#   make clean         removes build/ except the virtual environment
#
# Variables: TORCH_PIP_ARGS (extra arguments for installing torch, such as an --index-url of CPU-only wheels),
# JOBS (parallel compilations), PYTHON (an interpreter with torch installed, instead of build/venv).

PYTHON ?= build/venv/bin/python
JOBS ?= $(shell nproc)
export TORCH_PIP_ARGS

CONFIGURE = cmake -DELREA_PYTHON=$(abspath $(PYTHON)) --preset
SOURCES = $(shell git ls-files '*.h' '*.cc')

.PHONY: setup build test demo bench asan format format-check clean
.DEFAULT_GOAL := build

setup:
	@tools/setup.sh $(PYTHON)

build: setup
	$(CONFIGURE) release
	cmake --build build/release --target elrea -j $(JOBS)

test: setup
	$(CONFIGURE) release
	cmake --build build/release -j $(JOBS)
	tools/run_tests build/release

demo: build
	tools/demo.sh

bench: build
	cmake --build build/release --target benchmarks -j $(JOBS)
	tools/run_benchmarks build/release build/bench.json

asan: setup
	$(CONFIGURE) asan
	cmake --build build/asan -j $(JOBS)
	tools/run_tests build/asan

format:
	clang-format -i $(SOURCES)

format-check:
	clang-format --dry-run --Werror $(SOURCES)

clean:
	find build -mindepth 1 -maxdepth 1 ! -name venv -exec rm -rf {} +
