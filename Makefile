# Everything a newcomer or CI runs. `make demo` and `make test` need make, git and a Python of at least 3.11, and nothing else.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
RUN := $(VENV)/bin/python
UV_VERSION := 0.13.8
DATABASE_TESTS := tests/adapters/postgres tests/adapters/test_local_postgres.py tests/adapters/test_local_iam_proxy.py
# Versions that the wheel carries. DRAWBRIDGE_PG_BIN, the bin directory of another build, goes before them.
POSTGRES := $(if $(DRAWBRIDGE_PG_BIN),named,16 18)
FIND_POSTGRES := import sys; from local.postgres import find_bin_directory; print(find_bin_directory({}, int(sys.argv[1])))

# The first Python that is new enough and can make a virtual environment.
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

define NO_PYTHON
No Python of at least 3.11 with venv was found. Install one, for example: sudo apt-get install python3 python3-venv
endef

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

demo: $(VENV)/.local ## Play the whole story on this machine, then leave the workspace open
	@exec env PORT='$(PORT)' $(RUN) -m local demo

test: $(VENV)/.tests ## Run every test that Python alone can run
	@$(RUN) -m pytest --numprocesses 2 --dist loadfile --ignore tests/browser

chromium:
	@test -x /usr/bin/chromedriver || { echo "Chromium is needed: sudo apt-get install chromium chromium-driver"; exit 1; }

test-browser: chromium $(VENV)/.browser ## Take the journeys on the local Slack's page, in Debian's Chromium
	@$(RUN) -m pytest --numprocesses 2 --dist loadfile tests/browser

pictures: chromium $(VENV)/.browser ## Take the pictures of docs/pictures from the local Slack's page
	@$(RUN) -m tests.browser.pictures

test-postgres: $(VENV)/.tests ## Run the database tests on PostgreSQL 16 and 18, or on the one in DRAWBRIDGE_PG_BIN
	@for version in $(POSTGRES); do \
		bin="$${DRAWBRIDGE_PG_BIN:-$$($(RUN) -c '$(FIND_POSTGRES)' $$version)}" && "$$bin/postgres" --version && \
		DRAWBRIDGE_PG_BIN="$$bin" $(RUN) -m pytest --numprocesses 2 --dist loadfile $(DATABASE_TESTS) || exit; \
	done

format: $(VENV)/.lint ## Format the code
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix --quiet .

check: $(VENV)/.lint ## Format, lint, types, architecture and the fast tests
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy
	@$(RUN) -m pytest tests/unit tests/architecture tests/statemachines/test_definition.py

bench: $(VENV)/.tests ## Measure, as ratios within one run
	@$(RUN) -m benchmarks.time_to_connect
	@$(RUN) -m benchmarks.provision_and_revoke
	@$(RUN) -m benchmarks.slack_acks
	@$(RUN) -m benchmarks.monthly_cost

pins: $(VENV)/bin/uv ## Compile the pinned requirements from pyproject.toml
	@for pair in lambda:requirements.txt local:local/requirements.txt tests:tests/requirements.txt browser:tests/browser/requirements.txt lint:.ci/requirements.txt; do \
		$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
			--group $${pair%%:*} --output-file $${pair#*:}; done

clean: ## Remove what was installed and built
	rm -rf $(VENV) .mypy_cache .ruff_cache

.PHONY: help demo test chromium test-browser pictures test-postgres format check bench pins clean
