# make demo    the whole graph on the simulated Panda
# make test    everything that CI runs but the linters
# Each target sets up all that it needs in .venv and is quick the second time.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-thorough build lint format bench colcon clean lock

VENV := .venv
PYTHON := $(VENV)/bin/python
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
CARGO := $(shell command -v cargo 2>/dev/null)
# Else it looks for the jobs of this make.
RUN_CARGO := env -u MAKEFLAGS -u MFLAGS $(CARGO)
ARGS ?=
export OMP_NUM_THREADS ?= 1
# What follows the Python packages is built side by side: messages, the Rust core, compiled modules.
MAKEFLAGS += --jobs=2

# Tests of graphs that run in real time have the machine to themselves; the others share its cores.
PYTEST := $(PYTHON) -m pytest
ALONE := test/ros test/launch
SHARED := test/architecture test/gpu test/property test/unit
WORKERS := -n auto --maxprocesses 8
# With options for pytest. 5: ARGS leaves none of these tests; an error where it leaves none at all.
define run_tests
shared=0; $(PYTEST) $(1) $(WORKERS) $(SHARED) $(ARGS) || shared=$$?; \
[ $$shared = 0 -o $$shared = 5 ] || exit $$shared; \
alone=0; $(PYTEST) $(1) $(ALONE) $(ARGS) || alone=$$?; \
[ $$alone = 0 ] || [ $$alone = 5 -a $$shared = 0 ] || exit $$alone
endef

# A sourced ROS install is used where there is one; else ROS comes from PyPI wheels.
ifdef ROS_DISTRO
  ROS_FLAVOUR := sourced
  VENV_OPTIONS := --system-site-packages --python /usr/bin/python3
  # ROS's own message libraries were compiled for NumPy 1: a newer one can't load them.
  OVERRIDE := numpy<2
  SOURCE := source $(VENV)/workspace/install/setup.bash &&
else
  ROS_FLAVOUR := wheels
  VENV_OPTIONS := --python '>=3.10,<3.13'
  ROS_REQUIREMENTS := -r msg/ros_wheels.txt
  OVERRIDE :=
  SOURCE :=
endif

help:
	@sed -n '1,3s/^# //p' Makefile; echo "also: $$(sed -n 's/^.PHONY: help //p' Makefile)"

demo: build
	@$(SOURCE) $(VENV)/bin/salus demo $(ARGS)

test: build $(VENV)/.lerobot
	@$(SOURCE) $(call run_tests,-m 'not thorough')
	@if [ -n "$(CARGO)" ]; then $(RUN_CARGO) test --quiet --manifest-path sedac_core/Cargo.toml; \
	else echo "sedac_core: Rust tests skipped, no cargo on PATH"; fi

test-thorough: build $(VENV)/.lerobot
	@$(SOURCE) $(call run_tests,--timeout 3600)

build: $(VENV)/.system $(VENV)/.messages $(VENV)/.sedac $(VENV)/.compiled

lint: build $(VENV)/.lerobot
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	@$(SOURCE) $(VENV)/bin/mypy
	@if [ -n "$(CARGO)" ]; then cd sedac_core && $(RUN_CARGO) fmt --check && \
	$(RUN_CARGO) clippy --quiet --all-targets --features python -- -D warnings; fi

format:
	@$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format . ; cd sedac_core && $(RUN_CARGO) fmt

bench: build
	@$(SOURCE) $(VENV)/bin/salus bench $(ARGS)

# The same two packages as a ROS workspace, over whatever ROS this environment has.
colcon: build
	@AMENT_PREFIX_PATH=$${AMENT_PREFIX_PATH:-$(CURDIR)/$(VENV)} \
	CMAKE_PREFIX_PATH=$${CMAKE_PREFIX_PATH:-$(CURDIR)/$(VENV)} \
	PATH=$(CURDIR)/$(VENV)/bin:$$PATH colcon build --base-paths . msg

# Pins every version for Python 3.10 to 3.12. gym-hil is pinned by hand: only its model files are
# used, and it is installed without its own needs (game pads, video).
lock: $(VENV)/.venv
	@$(UV) pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate \
	<(echo "mujoco<3.9") msg/ros_wheels.txt setup.py \
	--extra test --extra policy --extra lerobot -o constraints.txt
	@echo 'gym-hil==0.1.14' >> constraints.txt

clean:
	find salus_ros -name '*.so' -delete
	rm -rf $(VENV) salus_ros/compiled.json .uv build install log sedac_core/target .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.uv/bin/uv:
	@echo "fetching uv"; python3 -m venv .uv && .uv/bin/pip install --quiet uv

# Debian packages: a C++ compiler for the messages, software OpenGL for the cameras.
$(VENV)/.system: | $(VENV)/.venv
	@missing=; command -v g++ >/dev/null || missing="$$missing g++"; \
	ldconfig -p | grep -q libEGL.so.1 || missing="$$missing libegl1"; \
	ls /usr/lib/*/dri/swrast_dri.so >/dev/null 2>&1 || missing="$$missing libgl1-mesa-dri"; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then as=; else as="sudo -n"; fi; \
	  echo "installing Debian packages:$$missing"; \
	  { $$as apt-get update -qq && $$as apt-get install -y -qq $$missing; } >/dev/null 2>&1 || \
	  { echo "make: please install: sudo apt-get install$$missing" >&2; exit 1; }; fi
	@touch $@

$(VENV)/.venv: | $(filter .uv/bin/uv,$(UV))
	@$(UV) venv --quiet --allow-existing $(VENV_OPTIONS) $(VENV) && echo $(ROS_FLAVOUR) > $@

$(VENV)/.packages: setup.py constraints.txt msg/ros_wheels.txt | $(VENV)/.venv
	@echo "installing Python packages ($(ROS_FLAVOUR) ROS)"
	@$(UV) pip install --quiet --python $(PYTHON) -c constraints.txt --overrides <(echo '$(OVERRIDE)') \
	$(ROS_REQUIREMENTS) -e '.[test,policy]' mujoco
	@$(UV) pip install --quiet --python $(PYTHON) -c constraints.txt --no-deps gym-hil
	@touch $@

# What only LeRobot's policies need; the demo starts sooner without it.
$(VENV)/.lerobot: $(VENV)/.packages
	@echo "installing LeRobot"
	@$(UV) pip install --quiet --python $(PYTHON) -c constraints.txt --overrides <(echo '$(OVERRIDE)') \
	-e '.[lerobot]'
	@touch $@

$(VENV)/.messages: $(wildcard msg/*) $(VENV)/.packages | $(VENV)/.system
	@if [ $(ROS_FLAVOUR) = wheels ]; then $(PYTHON) msg/install_into_environment.py; else \
	colcon --log-base $(VENV)/workspace/log build --base-paths msg \
	--build-base $(VENV)/workspace/build --install-base $(VENV)/workspace/install; fi
	@touch $@

# Without a Rust toolchain that can build it, the core's numpy fallback is put on the path.
SEDAC_SOURCES := $(shell find sedac_core -path sedac_core/target -prune -o -type f \
	\( -name '*.rs' -o -name '*.toml' -o -name '*.py*' -o -name '*.lock' \) -print 2>/dev/null)
$(VENV)/.sedac: $(SEDAC_SOURCES) $(VENV)/.packages
	@if [ -n "$(CARGO)" ] && $(UV) pip install --quiet --python $(PYTHON) -c constraints.txt \
	  --reinstall-package sedac_core --refresh-package sedac_core ./sedac_core; then \
	  rm -f $(VENV)/lib/python3*/site-packages/sedac_core.pth; echo "sedac_core: compiled"; \
	else echo "sedac_core: no Rust toolchain that can build it (https://rustup.rs), numpy fallback"; \
	  for site in $(VENV)/lib/python3*/site-packages; do \
	    echo $(CURDIR)/sedac_core/python > $$site/sedac_core.pth; done; fi
	@touch $@

# The modules of every tick, compiled where they lie. Without a compiler or Python's headers the
# sources run as they are.
COMPILED_FOLDERS := supervision supervision/detectors signals replay
$(VENV)/.compiled: setup.py $(wildcard $(COMPILED_FOLDERS:%=salus_ros/%/*.py)) $(VENV)/.packages \
	| $(VENV)/.system
	@find salus_ros -name '*.so' -delete; rm -f salus_ros/compiled.json
	@if SALUS_COMPILE=1 $(PYTHON) setup.py --quiet build_ext --inplace --build-temp $(VENV)/compiled \
	  > $(VENV)/compiled.log 2>&1; then echo "salus_ros: compiled"; \
	else echo "salus_ros: not compiled, slower ($(VENV)/compiled.log says why)"; fi
	@touch $@
