# Each target makes its own .venv from requirements.lock when it is missing or the lock is newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow check bench bench-jobs bench-generate up lock clean

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/viralsync demo

# Three at a time on two cores: a third of the time the tests wait for servers.
test: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow -v

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy viralsync_pipelines
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m tests.bench

# The Jobs API's part alone.
bench-jobs: $(STAMP)
	$(BIN)/python -m tests.bench jobs

# That of generated media alone.
bench-generate: $(STAMP)
	$(BIN)/python -m tests.bench generate

up: $(STAMP)
	$(BIN)/viralsync up

# Needs uv; writes exact versions with hashes and no index address.
lock:
	uv pip compile pyproject.toml --extra dev --extra notebook --extra heic --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --no-strip-extras -o requirements.lock

clean:
	rm -rf $(VENV) build *.egg-info
