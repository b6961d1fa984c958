# Everything happens in .venv. `make install` is repeated only when the lock or the project's own metadata changes.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test check check-browser check-api endure simulate lint bench lock clean

install: .venv/installed

.venv/installed: requirements-uv.lock requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements-dev.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# One cycle over the embedded sandbox. Exit 0 (converged) and 3 (drift is left for time or people) are both fine.
demo: install
	@$(BIN)/reconciler reconcile || { code=$$?; [ $$code -eq 3 ] || exit $$code; }
	@echo
	@echo 'What one ticket went through:  .venv/bin/reconciler explain RITM0010001'
	@echo 'Look again, nothing to do:     .venv/bin/reconciler reconcile'
	@echo 'The log, verified offline:     .venv/bin/reconciler audit verify'
	@echo 'Let two days pass, start over: .venv/bin/reconciler sandbox advance 2d | reset'

test: install
	$(BIN)/python -m pytest tests -n 2 --dist worksteal --ignore=tests/browser

# The pages in Debian's Chromium (apt-get install chromium). Pictures of every page are left in var/browser.
check-browser: install
	$(BIN)/python -m pytest tests/browser -n 0 -rs

# The API against its own description: generated requests, half a minute.
check-api: install
	$(BIN)/python -m pytest tests/web/check_api.py -n 0 -W ignore

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@! grep -n '://' requirements-*.lock || (echo 'a lock file names a host' >&2; exit 1)

# A cycle killed at every request, and more bad days: many minutes. CI takes every third request: SHARE=3.
SHARE ?= 1
endure: install
	EVERY_REQUEST=$(SHARE) EVERY_SEED=0 $(BIN)/python -m pytest tests/simulation/test_interruptions.py tests/simulation/test_faults.py -n 2 --dist worksteal

# Any number of simulated customers: SEEDS=1000 FROM=0. One of them, told cycle by cycle: SEED=1234.
SEEDS ?= 200
FROM ?= 0
simulate: install
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --from $(FROM))

bench: install
	$(BIN)/python -m tests.bench

lock:
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 pyproject.toml --group dev -o requirements-dev.lock
	echo 'uv==0.13.8' | $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 - -o requirements-uv.lock

clean:
	rm -rf .venv var
