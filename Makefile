# What people do in this repository; `make help` lists it. On a fresh machine `run` and `test` need only make and
# Python 3.11 or newer with its venv module; `proto-lint` needs npm as well.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first interpreter that is new enough.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
TOOLS := build/tools
BUF_DIR := tools/buf
BUF := $(BUF_DIR)/node_modules/.bin/buf
BASELINE := protos/baseline.txtpb

# How many tests run at the same time.
JOBS ?= 2
# Generated worlds of the long differential test.
WORLDS ?= 10000
# More arguments for the command that a target runs: make test ARGS="tests/unit -k uid".
ARGS ?=

PIP_INSTALL := -m pip --disable-pip-version-check install --quiet
# Build isolation would download a build backend that no lock names.
INSTALL_SELF := $(PIP_INSTALL) --no-index --no-deps --no-build-isolation --editable .
INSTALL_CLIENT := $(PIP_INSTALL) --no-index --no-deps --no-build-isolation --editable clients/python

.PHONY: help
help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST) | expand -t 16

# --- the environment ---------------------------------------------------------------------------------------------

# An environment whose interpreter is gone is made anew.
ifneq ($(shell test -x $(BIN)/python && echo ok),ok)
$(VENV)/pyvenv.cfg: FORCE
endif

$(VENV)/pyvenv.cfg:
	@tools/make-venv "$(PYTHON)" $(VENV)

$(VENV)/.run: requirements.lock requirements-build.lock pyproject.toml $(VENV)/pyvenv.cfg
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements-build.lock
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements.lock
	$(BIN)/python $(INSTALL_SELF)
	@touch $@

# The development lock holds everything of the other two.
$(VENV)/.dev: requirements-dev.lock requirements.lock requirements-build.lock pyproject.toml \
		clients/python/pyproject.toml $(VENV)/pyvenv.cfg
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	$(BIN)/python $(INSTALL_SELF)
	$(BIN)/python $(INSTALL_CLIENT)
	@touch $(VENV)/.run $@

$(TOOLS)/pyvenv.cfg:
	@tools/make-venv "$(PYTHON)" $(TOOLS)

$(TOOLS)/.installed: tools/requirements.lock $(TOOLS)/pyvenv.cfg
	$(TOOLS)/bin/python $(PIP_INSTALL) --require-hashes -r tools/requirements.lock
	@touch $@

$(BUF_DIR)/node_modules/.installed: $(BUF_DIR)/package-lock.json $(BUF_DIR)/package.json
	@command -v npm >/dev/null || { echo "npm is missing: buf, which checks the protos, is installed with it" >&2; exit 2; }
	cd $(BUF_DIR) && npm ci --silent
	@touch $@

.PHONY: FORCE
FORCE:

.PHONY: dev
dev: $(VENV)/.dev ## Make the development environment in .venv.

# --- run and test ------------------------------------------------------------------------------------------------

.PHONY: run
run: $(VENV)/.run ## Serve the quickstart bundle.
	$(BIN)/pdp serve --bundle examples/quickstart $(ARGS)

.PHONY: test
test: $(VENV)/.dev modules clients ## Run the tests; JOBS at a time, with ARGS.
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

# What MODULES says, such as --require-all, goes to the build.
MODULES ?=

.PHONY: modules
modules: $(VENV)/.dev ## Build the example interceptors, as far as their toolchains can be had, into build/interceptors.
	PYTHON=$(abspath $(BIN))/python $(BIN)/python interceptors_wasm/build --check $(MODULES)

# What CLIENTS says, such as --require-all, goes to what handles the clients of all languages.
CLIENTS ?=

.PHONY: clients
clients: $(VENV)/.dev ## Build the clients' runners of the conformance cases, as far as their toolchains are here.
	PYTHON=$(abspath $(BIN))/python $(BIN)/python clients/each build $(CLIENTS)

.PHONY: check-clients
check-clients: $(VENV)/.dev ## Run each client's own checks and tests, as far as their toolchains are here.
	REPO_PYTHON=$(abspath $(BIN))/python $(BIN)/python clients/each check $(CLIENTS)

# How long each of the tests of `make fuzz` goes on.
FUZZ_SECONDS ?= 120

.PHONY: fuzz
fuzz: $(VENV)/.dev ## Feed all that takes bytes from others with random ones, for FUZZ_SECONDS a test.
	PDP_FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest tests/fuzz $(ARGS)

# How long each fault of `make faults` goes on.
FAULT_SECONDS ?= 60

.PHONY: faults
faults: $(VENV)/.dev ## Kill, stop, starve and flood the service under load, for FAULT_SECONDS a fault.
	FAULT_SECONDS=$(FAULT_SECONDS) $(BIN)/python -m pytest tests/faults $(ARGS)

.PHONY: differential
differential: $(VENV)/.dev ## Compare many more generated requests with plain Cedar; WORLDS of them times 100.
	PDP_DIFFERENTIAL_WORLDS=$(WORLDS) $(BIN)/python -m pytest -n $(JOBS) tests/property $(ARGS)

.PHONY: bench
bench: $(VENV)/.dev ## Run the benchmarks, with ARGS (bench/README.md); ARGS=--record writes bench/RESULTS.md.
	$(BIN)/python -m bench.run $(ARGS)

# --- checks ------------------------------------------------------------------------------------------------------

.PHONY: format
format: $(VENV)/.dev ## Format the code and mend what ruff can mend.
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

.PHONY: lint
lint: check-format check-lint check-types check-layers ## Check format, lint rules, types and layers.

.PHONY: check-format
check-format: $(VENV)/.dev
	$(BIN)/ruff format --check

.PHONY: check-lint
check-lint: $(VENV)/.dev
	$(BIN)/ruff check

.PHONY: check-types
check-types: $(VENV)/.dev
	$(BIN)/mypy

.PHONY: check-layers
check-layers: $(VENV)/.dev
	$(BIN)/lint-imports --no-logo

.PHONY: check-locks
check-locks: ## Check that the lock files name no address and pin every hash.
	@tools/check-locks

.PHONY: check-paths
check-paths: ## Check that no file names a path of the machine it was written on.
	@tools/check-paths

# --- protos ------------------------------------------------------------------------------------------------------

.PHONY: gen
gen: $(TOOLS)/.installed $(VENV)/.run ## Generate all code from the protos, and pages of docs/reference from the code.
	$(TOOLS)/bin/python tools/gen.py
	$(BIN)/python tools/gen_docs.py
	$(BIN)/python clients/each generate $(CLIENTS)

.PHONY: gen-check
gen-check: $(TOOLS)/.installed $(VENV)/.run ## Check that what was generated is up to date, and loads on the oldest runtime.
	$(TOOLS)/bin/python tools/gen.py --check
	$(BIN)/python tools/gen_docs.py --check
	$(BIN)/python clients/each check-generated $(CLIENTS)

.PHONY: proto-lint
proto-lint: $(BUF_DIR)/node_modules/.installed ## Check style and compatibility of the protos.
	BUF=$(BUF) tools/proto-lint $(BASELINE)

.PHONY: proto-baseline
proto-baseline: $(BUF_DIR)/node_modules/.installed ## Record the API that later changes must stay compatible with.
	BUF=$(BUF) tools/proto-lint --record $(BASELINE)

# --- locks -------------------------------------------------------------------------------------------------------

UV_COMPILE := $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"

.PHONY: lock
lock: $(TOOLS)/.installed ## Write the lock files anew; ARGS=--upgrade moves every pin.
	$(UV_COMPILE) $(ARGS) pyproject.toml -o requirements.lock
	$(UV_COMPILE) $(ARGS) -c requirements.lock --group dev pyproject.toml -o requirements-dev.lock
	$(UV_COMPILE) $(ARGS) -c requirements-dev.lock --group build -o requirements-build.lock
	$(UV_COMPILE) $(ARGS) -c requirements-dev.lock --group gateway -o examples/gateway/requirements.lock
	$(UV_COMPILE) $(ARGS) -c requirements.lock clients/python/pyproject.toml -o clients/python/requirements.lock
	$(UV_COMPILE) $(ARGS) tools/requirements.in -o tools/requirements.lock
	tools/check-locks

.PHONY: clean
clean: ## Remove everything that was made and is not in git.
	rm -rf $(VENV) build dist $(BUF_DIR)/node_modules bench/peers/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
