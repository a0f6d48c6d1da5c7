# The front door. CMake does the work; its presets are release, dev, asan and tsan.
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS ?= 600
JOBS ?= $(shell nproc)

.PHONY: all demo test check bench soak model install uninstall clean help

all:
	@scripts/bootstrap.sh build
	@cmake --preset release -DBERTH_TESTS=OFF >/dev/null
	@cmake --build --preset release -j $(JOBS)

demo: all
	@build/berth demo

test:
	@scripts/bootstrap.sh test
	@cmake --preset release -DBERTH_TESTS=ON >/dev/null
	@cmake --build --preset release -j $(JOBS)
	@ctest --preset release

check:
	@scripts/bootstrap.sh check
	clang-format --dry-run -Werror $$(find src bench -name '*.cc' -o -name '*.h')
	@for p in asan tsan; do cmake --preset $$p >/dev/null && cmake --build --preset $$p -j $(JOBS) && ctest --preset $$p || exit 1; done
	@cmake --preset dev >/dev/null
	find src -name '*.cc' ! -name '*_test.cc' ! -name 'sim_*' | xargs -P $(JOBS) -n 4 clang-tidy -p build/dev --quiet

bench: all
	@cmake --build --preset release --target bench_programs -j $(JOBS)
	@bench/run.sh

soak: all
	@SECONDS=$(SECONDS) BERTH=build/berth python3 tests/soak.py

model:
	@scripts/bootstrap.sh model
	@docs/model/run.sh

install: all
	@cmake --install build --prefix "$(DESTDIR)$(PREFIX)"

uninstall:
	@xargs -r rm -fv < build/install_manifest.txt

clean:
	rm -rf build

help:
	@echo "make          build/berth and build/libberth.so"
	@echo "make demo     builds, and shows what berth does"
	@echo "make test     builds, and runs the tests"
	@echo "make check    format, sanitizers, clang-tidy"
	@echo "make bench    figures, each beside something to compare with"
	@echo "make soak     kills and stops for SECONDS=600"
	@echo "make model    the model of the wake-ups, in spin"
	@echo "make install  PREFIX=/usr/local DESTDIR="
