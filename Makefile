# Everything that is done with this repository. `make help` lists it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test check format bench bench-peers schema lock web clean

help: ## Show this list.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/runtime ## Serve the gateway with demo data on http://127.0.0.1:8000 (PORT and DATA_DIR change that).
	@exec $(BIN)/campaign-gateway serve --demo

test: $(VENV)/development check ## Check the code, then run the whole suite.
	@tests/install-system-packages
	$(BIN)/python -m pytest --numprocesses auto

check: $(VENV)/development ## Check style, types, layers and the printed schema.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/campaign-gateway schema | diff -u schema.graphql - || { echo "schema.graphql is stale: make schema"; exit 1; }

format: $(VENV)/development ## Format the code and mend what ruff can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/development ## Measure queries, filters, exports and subscriptions and print the figures with the machine.
	$(BIN)/python -m benchmarks.queries
	$(BIN)/python -m benchmarks.filters
	$(BIN)/python -m benchmarks.exports
	$(BIN)/python -m benchmarks.subscriptions

bench-peers: $(VENV)/development ## Measure beside Mercurius, PostGraphile, Yoga and SQL by hand (needs npm; 25 minutes).
	@benchmarks/peers/install-system-packages
	cd benchmarks/peers/servers && npm ci --no-audit --no-fund --loglevel error
	$(BIN)/python -m benchmarks.peers $(ARGUMENTS)

schema: $(VENV)/development ## Print the schema into schema.graphql.
	$(BIN)/campaign-gateway schema > schema.graphql

lock: $(VENV)/development ## Choose the newest versions that pyproject.toml allows and pin them with their hashes.
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --extra build -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --extra build --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

web: ## Build GraphiQL into gateway/pages (needs Node 20.19 or newer; the built files are committed).
	cd web && npm ci && npm run check && npm run build

clean: ## Remove the virtual environment and caches; data stays.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/development: requirements-dev.lock $(VENV)/runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
