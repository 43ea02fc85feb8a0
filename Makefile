# Everything a newcomer or CI runs. `make demo` and `make test` need make, git and a Python of at least 3.11, and nothing else.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Where it is set, each of the many processes below would compile anew all that it loads.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
RUN := $(VENV)/bin/python
UV_VERSION := 0.13.8
DATABASE_TESTS := tests/adapters/postgres tests/adapters/test_local_postgres.py tests/adapters/test_local_iam_proxy.py
# Versions that the wheel carries. DRAWBRIDGE_PG_BIN, the bin directory of another build, goes before them.
POSTGRES := $(if $(DRAWBRIDGE_PG_BIN),named,16 18)
FIND_POSTGRES := import sys; from local.postgres import find_bin_directory; print(find_bin_directory({}, int(sys.argv[1])))

# For the operator's program. It says itself what is missing. ARGUMENTS are its other options, such as --yes.
STAGE_GIVEN = --stage '$(STAGE)' $(if $(LOCATIONS),--locations '$(LOCATIONS)')
GIVEN = $(STAGE_GIVEN) $(if $(CERTIFICATES),--certificates '$(CERTIFICATES)')

# The first Python that is new enough and can make a virtual environment.
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# What goes on AWS is compiled by the Python that runs there. pyenv's names for a Python may be there without one behind them.
DEPLOY_VENV := .venv-deploy
DEPLOY := $(DEPLOY_VENV)/bin/python -m deployment
CHECKOV_VENV := .venv-checkov
DEPLOY_PYTHON = $(shell pyenv="$${PYENV_ROOT:-$$HOME/.pyenv}/versions"; \
	for python in python3.13 python3.14 python3.12 python3 "$$pyenv"/3.13*/bin/python "$$pyenv"/3.14*/bin/python "$$pyenv"/3.12*/bin/python; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info < (3, 15))' 2>/dev/null && echo "$$python" && break; done)

define NO_PYTHON
No Python of at least 3.11 with venv was found. Install one, for example: sudo apt-get install python3 python3-venv
endef

define NO_DEPLOY_PYTHON
No Python of 3.12 to 3.14 with venv was found; what goes on AWS is compiled by one. Install one, for example: pyenv install 3.13,
or sudo apt-get install python3.13 python3.13-venv. Then try again.
endef
export NO_DEPLOY_PYTHON

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

$(VENV)/bin/uv:
	@$(if $(PYTHON),,echo "$(NO_PYTHON)"; exit 1)
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# Each set of pins is installed once; changing the pins installs again.
$(VENV)/.local: local/requirements.txt $(VENV)/bin/uv
$(VENV)/.tests: tests/requirements.txt $(VENV)/bin/uv
$(VENV)/.browser: tests/browser/requirements.txt $(VENV)/bin/uv
$(VENV)/.lint: .ci/requirements.txt $(VENV)/bin/uv
$(VENV)/.%:
	@echo "Installing what this needs into $(VENV) (once)..."
	@$(VENV)/bin/uv pip install --quiet --no-cache --python $(RUN) --require-hashes --requirement $<
	@touch $@

$(DEPLOY_VENV)/bin/uv:
	@python='$(DEPLOY_PYTHON)'; test -n "$$python" || { echo "$$NO_DEPLOY_PYTHON"; exit 1; }; "$$python" -m venv --clear $(DEPLOY_VENV)
	@$(DEPLOY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(DEPLOY_VENV)/.deploy: deployment/requirements.txt $(DEPLOY_VENV)/bin/uv
$(DEPLOY_VENV)/.packaging: tests/deployment/requirements.txt $(DEPLOY_VENV)/bin/uv
$(DEPLOY_VENV)/.%:
	@echo "Installing what this needs into $(DEPLOY_VENV) (once)..."
	@$(DEPLOY_VENV)/bin/uv pip install --quiet --no-cache --python $(DEPLOY_VENV)/bin/python --require-hashes --requirement $<
	@touch $@

$(CHECKOV_VENV)/.checkov: deployment/checkov-requirements.txt $(DEPLOY_VENV)/bin/uv
	@echo "Installing checkov into $(CHECKOV_VENV) (once)..."
	@$(DEPLOY_VENV)/bin/uv venv --quiet --no-cache --clear --python $(DEPLOY_VENV)/bin/python $(CHECKOV_VENV)
	@$(DEPLOY_VENV)/bin/uv pip install --quiet --no-cache --python $(CHECKOV_VENV)/bin/python --require-hashes --requirement $<
	@touch $@

demo: $(VENV)/.local ## Play the whole story on this machine, then leave the workspace open
	@exec env PORT='$(PORT)' $(RUN) -m local demo

test: $(VENV)/.tests ## Run every test that Python alone can run
	@$(RUN) -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder --ignore tests/browser --ignore tests/deployment --ignore tests/faults

chromium:
	@test -x /usr/bin/chromedriver || { echo "Chromium is needed: sudo apt-get install chromium chromium-driver"; exit 1; }

test-browser: chromium $(VENV)/.browser ## Take the journeys on the local Slack's page, in Debian's Chromium
	@$(RUN) -m pytest --numprocesses 2 --dist loadfile tests/browser

pictures: chromium $(VENV)/.browser ## Take the pictures of docs/pictures from the local Slack's page
	@$(RUN) -m tests.browser.pictures

test-postgres: $(VENV)/.tests ## Run the database tests on PostgreSQL 16 and 18, or on the one in DRAWBRIDGE_PG_BIN
	@for version in $(POSTGRES); do \
		bin="$${DRAWBRIDGE_PG_BIN:-$$($(RUN) -c '$(FIND_POSTGRES)' $$version)}" && "$$bin/postgres" --version && \
		DRAWBRIDGE_PG_BIN="$$bin" $(RUN) -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(DATABASE_TESTS) || exit; \
	done

test-package: $(DEPLOY_VENV)/.packaging $(CHECKOV_VENV)/.checkov ## Run the tests of packaging and deploying, on the Python that does both
	@$(DEPLOY_VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile tests/deployment

test-faults: $(VENV)/.tests ## Run the tests of the fault harness, and a sample of faults for FAULT_SECONDS=60 of a processor, by SEED=
	@$(RUN) -m pytest --numprocesses 2 --dist loadfile tests/faults
	@$(RUN) -m tests.faults --pairs 300 --cpu-seconds $(or $(FAULT_SECONDS),60) $(if $(SEED),--seed $(SEED))

faults: $(VENV)/.tests ## Break each call of the story in each way, in virtual time, and try the interleavings of leases and grants
	@$(RUN) -m tests.faults $(or $(FAULTS),--all --pairs 300)
	@$(RUN) -m tests.faults.explore --most $(or $(STATES),60000)

load: $(VENV)/.tests ## Let two hundred people ask within a minute, in virtual time
	@$(RUN) -m pytest -s tests/faults/load.py

package: $(DEPLOY_VENV)/.deploy $(CHECKOV_VENV)/.checkov ## Build and check what STAGE=... puts on AWS; STAGE=example needs no catalogue
	@$(DEPLOY) package $(GIVEN) $(ARGUMENTS)

deploy: $(DEPLOY_VENV)/.deploy $(CHECKOV_VENV)/.checkov ## Put STAGE=... with the catalogue LOCATIONS=... on AWS
	@$(DEPLOY) deploy $(GIVEN) $(ARGUMENTS)

destroy: $(DEPLOY_VENV)/.deploy ## End every grant of STAGE=..., then remove it from AWS
	@$(DEPLOY) destroy $(STAGE_GIVEN) $(ARGUMENTS)

doctor: $(DEPLOY_VENV)/.deploy ## Tick what STAGE=... needs, and say the next step
	@$(DEPLOY) doctor $(STAGE_GIVEN) $(ARGUMENTS)

format: $(VENV)/.lint ## Format the code
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix --quiet .

check: $(VENV)/.lint ## Format, lint, types, architecture and the fast tests
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy
	@$(RUN) -m pytest --numprocesses 2 tests/unit tests/architecture tests/statemachines/test_definition.py

bench: $(VENV)/.tests ## Measure, as ratios within one run
	@$(RUN) -m benchmarks.time_to_connect
	@$(RUN) -m benchmarks.provision_and_revoke
	@$(RUN) -m benchmarks.slack_acks
	@$(RUN) -m benchmarks.throughput
	@$(RUN) -m benchmarks.monthly_cost

pins: $(VENV)/bin/uv ## Compile the pinned requirements from pyproject.toml
	@compile() { $(VENV)/bin/uv pip compile --quiet --universal --python-version $$1 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --group $$2 --output-file $$3; }; \
	compile 3.11 lambda requirements.txt && compile 3.11 local local/requirements.txt && compile 3.11 tests tests/requirements.txt && \
	compile 3.11 browser tests/browser/requirements.txt && compile 3.11 lint .ci/requirements.txt && \
	compile 3.12 deploy deployment/requirements.txt && compile 3.12 packaging tests/deployment/requirements.txt && \
	compile 3.12 checkov deployment/checkov-requirements.txt

clean: ## Remove what was installed and built
	rm -rf $(VENV) $(DEPLOY_VENV) $(CHECKOV_VENV) build *.egg-info .mypy_cache .ruff_cache

.PHONY: help demo test chromium test-browser pictures test-postgres test-package test-faults faults load package deploy destroy doctor format check bench pins clean
