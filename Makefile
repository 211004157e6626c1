# Needs Python >= 3.11, git and make. Everything else comes with the environment, locked, into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test soak marathon lint bench chaos load services services-down clean

UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
BIN := .venv/bin
# Which groups .venv was synced with last: a target syncs again only when the lock or the groups changed.
DEMO := .venv/.synced-demo
DEV := .venv/.synced-dev
# Ray would otherwise start its workers through `uv run`, and sync once more in each.
export RAY_ENABLE_UV_RUN_RUNTIME_ENV := 0

help:  ## This list.
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: | $(if $(wildcard $(DEV)),$(DEV),$(DEMO))  ## Tokenize the photographs that come along, or MEDIA=/my/folder.
	$(BIN)/mediatok demo $(if $(MEDIA),--media "$(MEDIA)")

test: $(DEV)  ## All tests but `soak` and `marathon`; ARGS='-k lake' passes arguments to pytest.
	$(BIN)/pytest $(ARGS)

soak: $(DEV)  ## Crashes, rebalances and chaos on real Kafka, S3 and Ray, simulated fleets: 25 minutes.
	$(BIN)/pytest -m soak $(ARGS)

marathon: $(DEV)  ## Films of hours killed at 90 %, kills of everything, graphs for an hour: before a release.
	$(BIN)/pytest -m marathon $(ARGS)

lint: $(DEV)  ## Style, types, layers, Dockerfile, compose file, lock.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/hadolint infra/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/pre-commit validate-config
	$(UV) lock --check

bench: $(DEV)  ## Pipeline against bare loop, Ray Data and Daft, memory, p99: ten minutes; ARGS='loop --images 500'.
	$(BIN)/python -m tests.bench $(or $(ARGS),--quick)

chaos: $(DEV)  ## Kill everything at random on real Kafka, S3 and Ray; ROUNDS=30.
	$(BIN)/python -m tests.chaos --rounds $(or $(ROUNDS),5)

load: $(DEV)  ## A constant offered rate on real Kafka and S3: latency, memory; RATE=50 MINUTES=20 ARGS='--mix text=1'.
	$(BIN)/python -m tests.load --rate $(or $(RATE),50) --minutes $(or $(MINUTES),20) $(ARGS)

services: $(DEV)  ## Start Kafka and S3 without containers; prints what finds them. End: make services-down.
	@$(BIN)/python -m infra.services up

services-down: $(DEV)  ## Stop them and delete their data.
	@$(BIN)/python -m infra.services down

clean:  ## Remove the environment, caches and what runs left in out/.
	rm -rf .venv .uv .pytest_cache .ruff_cache .hypothesis .import_linter_cache out
	find operators pipeline infra tests -name __pycache__ -prune -exec rm -rf {} +

$(DEMO): pyproject.toml uv.lock | $(UV)
	$(UV) sync --locked --no-default-groups --group demo
	rm -f $(DEV) && touch $@

$(DEV): pyproject.toml uv.lock | $(UV)
	$(UV) sync --locked --all-groups
	rm -f $(DEMO) && touch $@

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
