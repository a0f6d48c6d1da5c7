# The front door: `make help` lists what can be asked for. CMake and its presets do the work; this
# file says in which order, and lets scripts/bootstrap.sh install what a bare machine lacks.
#
# Variables: PREFIX, DESTDIR (install), CXX, CXXFLAGS (first configuration), JOBS (of a build),
# TEST_JOBS, CTEST (more words for ctest: make test CTEST='-R Plan'), SECONDS (soak).

PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?=
TEST_JOBS ?= 2
CTEST ?=
SECONDS ?= 600
BOOTSTRAP ?= scripts/bootstrap.sh

CONFIGURE = cmake --log-level=WARNING --preset
NINJA = cmake --build $(1) $(if $(JOBS),-j $(JOBS)) --target
TEST = ctest -j $(TEST_JOBS) --preset
SOURCES = find $(wildcard src include tests bench) -name '*.h' -o -name '*.hpp' -o -name '*.cc'
BERTH = '$(CURDIR)/build/berth'

.PHONY: all demo test check format-check tidy asan tsan bench soak model install uninstall clean help
.DEFAULT_GOAL := all

all: ## build build/berth, build/libberth.so and the man page (the default)
	@$(BOOTSTRAP) build
	@$(MAKE) -s --no-print-directory build/build.ninja
	@$(call NINJA,build) berth libberth man

# ninja sees to it that cmake runs again when CMakeLists.txt has changed, but does not know the presets.
# A build directory that was copied or moved from elsewhere points there, and is started afresh.
MOVED = $(shell [ ! -e build/CMakeCache.txt ] || \
  grep -qxF 'CMAKE_HOME_DIRECTORY:INTERNAL=$(CURDIR)' build/CMakeCache.txt || echo moved)

build/build.ninja: CMakePresets.json $(MOVED)
	@$(CONFIGURE) release
	@touch $@

.PHONY: moved
moved:
	@rm -rf build

demo: all ## build, and watch berth at work on simulated GPUs
	@build/berth demo

test: ## build and run every test
	@$(BOOTSTRAP) test
	@$(MAKE) -s --no-print-directory build/build.ninja
	@$(CONFIGURE) release -DBERTH_TESTS=ON
	@$(call NINJA,build) all
	@$(TEST) release $(CTEST)

check: format-check tidy asan tsan ## what a change should pass: format, clang-tidy, sanitizers

format-check:
	@$(BOOTSTRAP) check
	$(SOURCES) | xargs -r clang-format --dry-run -Werror

# Some 13 s of a processor a file, of which the analyzer takes 3: for all of src/ twenty minutes of two processors.
# Tests are left out: each takes 45 s, of which the analyzer spends 27 on what GoogleTest's macros become, and what
# it seeks there the sanitizers see when they run.
tidy:
	@$(BOOTSTRAP) check
	@$(CONFIGURE) dev
	run-clang-tidy -quiet -j $(or $(JOBS),$(shell nproc)) -p build/dev '$(CURDIR)/src/.*/(?!sim_)[^/]*(?<!_test)\.cc$$'

# The thread sanitizer of g++ 12 cannot live with the widest address randomisation of newer kernels.
asan tsan:
	@$(BOOTSTRAP) check
	@$(CONFIGURE) $@
	@$(call NINJA,build/$@) berth_unit_tests
	@$(if $(filter tsan,$@),setarch -R) $(TEST) $@ $(CTEST)

bench: ## measure, each figure beside something to compare it with
	@$(BOOTSTRAP) bench
	@$(MAKE) --no-print-directory all
	@$(call NINJA,build) bench
	@BERTH=$(BERTH) bash bench/run.sh

soak: all ## crash and contend at random for SECONDS (600)
	@$(BOOTSTRAP) test
	@env SECONDS='$(SECONDS)' BERTH=$(BERTH) python3 tests/soak.py

model: ## check the model of the wake-ups with spin
	@$(BOOTSTRAP) model
	@docs/model/run.sh

install: all ## install below PREFIX (/usr/local), for packagers below DESTDIR
	@DESTDIR='$(DESTDIR)' cmake --install build --prefix '$(PREFIX)'
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then ldconfig || true; fi

INSTALLED = bin/berth lib/libberth.so lib/libberth.so.0 lib/libberth.so.0.1.0 include/berth share/doc/berth \
  share/man/man1/berth.1

uninstall: ## take away what install put there
	@cd '$(DESTDIR)$(PREFIX)/' && rm -rf $(INSTALLED)
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then ldconfig || true; fi

clean: ## remove build/
	@rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
