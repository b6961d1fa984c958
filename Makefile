# Everything happens in .venv. `make install` is repeated only when the lock or the project's own metadata changes.
PYTHON ?= python3
BIN := .venv/bin
# Compiled modules are kept, also where a machine's environment says not to: else each process compiles everything anew,
# which took five of its first eight seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo test check check-browser check-api check-service check-deploy endure soak simulate lint bench bench-full lock clean renderer

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
	$(BIN)/python -m pytest tests -p no:schemathesis -m "not long" -n 2 --dist worksteal --ignore=tests/browser --ignore=tests/service --ignore=tests/deploy

# The pages in Debian's Chromium (apt-get install chromium). Pictures of every page are left in var/browser.
check-browser: install
	-@$(MAKE) --no-print-directory renderer || echo 'the cards are not drawn: the renderer could not be fetched' >&2
	$(BIN)/python -m pytest tests/browser -n 0 -rs

# The API against its own description: generated requests, half a minute.
check-api: install
	$(BIN)/python -m pytest tests/web/check_api.py -n 0 -W ignore

# Dashboards and rules against the real thing: Debian's Prometheus, unpacked and not installed, scrapes the service while
# stories and faults play. One and a half minutes. It prints every panel and rule with its number of series.
check-service: install
	-@$(MAKE) --no-print-directory var/prometheus/usr/bin/prometheus || echo 'Prometheus could not be fetched: what needs it is skipped' >&2
	$(BIN)/python -m pytest tests/service -n 0 -rs --timeout 400

var/prometheus/usr/bin/prometheus:
	@mkdir -p var/prometheus
	cd var/prometheus && rm -f prometheus_*.deb && apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && rm prometheus_*.deb

# The wheel by pipx, in an empty folder and not as root; unit, Dockerfile, compose file and manifests by their linters.
check-deploy: install
	-@$(MAKE) --no-print-directory var/lint/.installed || echo 'the linters could not be fetched: what needs them is skipped' >&2
	$(BIN)/python -m pytest tests/deploy -n 0 -rs --timeout 420

var/lint/.installed: requirements-deploy.lock
	@test -x var/lint/bin/python || $(BIN)/uv venv -q var/lint
	@$(BIN)/uv pip sync -q --python var/lint/bin/python --require-hashes requirements-deploy.lock
	@touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@! grep -n '://' requirements-*.lock || (echo 'a lock file names a host' >&2; exit 1)

# What needs many days of Contoso: hostile texts, bad days, a cycle killed at every request; 184 simulated customers more
# than the 16 of `make test`; a service that is stopped in its first cycle; workers of a fleet that are killed and cut off;
# a million rows on PostgreSQL. Many minutes. CI takes every eighth request, to stay within its time, and another eighth
# with each commit: SHARE=8 FIRST=1 to 8.
SHARE ?= 1
FIRST ?= 1
endure: install
	EVERY_REQUEST=$(SHARE) FIRST_REQUEST=$(FIRST) EVERY_SEED=0 $(BIN)/python -m pytest tests/simulation tests/fleet tests/stories tests/store tests/daemon -p no:schemathesis -m long -n 2 --dist worksteal

# The service as a process over the sandbox's TLS ports: virtual hours with faults, outages and kill -9. Two weeks take
# about half an hour; CI takes HOURS=6 with two of them on one store. SPEED, KILLS and SEED may be set too.
HOURS ?= 336
soak: install
	$(BIN)/python -m tests.soak --hours $(HOURS) $(if $(SPEED),--speed $(SPEED)) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) $(if $(SERVICES),--services $(SERVICES))

# Any number of simulated customers: SEEDS=1000 FROM=0. One of them, told cycle by cycle: SEED=1234. Workers that die, are
# cut off from the store and come back late: STORE=postgresql WORKERS=3.
SEEDS ?= 200
FROM ?= 0
simulate: install
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --from $(FROM)) $(if $(STORE),--store $(STORE)) $(if $(WORKERS),--workers $(WORKERS))

# Microsoft's renderer of Adaptive Cards, into an untracked folder, for pictures of our cards. Pinned; needs npm.
RENDERER := var/renderer
renderer: $(RENDERER)/adaptivecards.js $(RENDERER)/markdown-it.js

$(RENDERER)/adaptivecards.js:
	@mkdir -p $(RENDERER)
	cd $(RENDERER) && pack=$$(npm pack --silent adaptivecards@3.0.6) && tar -xzOf $$pack package/dist/adaptivecards.js > adaptivecards.part && rm $$pack
	echo 'c3912747fe74e86a466bb583891f02fa5f8ce6131fa5a04c9e8b2921f14fb98f  $(RENDERER)/adaptivecards.part' | sha256sum -c --quiet
	mv $(RENDERER)/adaptivecards.part $@

$(RENDERER)/markdown-it.js:
	@mkdir -p $(RENDERER)
	cd $(RENDERER) && pack=$$(npm pack --silent markdown-it@14.1.0) && tar -xzOf $$pack package/dist/markdown-it.js > markdown-it.part && rm $$pack
	echo '433ba2a6946e8200c464d8845b98d826022a1836b4a713f01fa2830477c381e8  $(RENDERER)/markdown-it.part' | sha256sum -c --quiet
	mv $(RENDERER)/markdown-it.part $@

# Every benchmark at a tenth of its size: some ten minutes, and no measurement where fixed costs weigh.
SCALE ?= 0.1
bench: install
	SCALE=$(SCALE) $(BIN)/python -m tests.bench

# The sizes that the figures of docs/performance.md are about: a million users, a thousand tenants. Hours; 8 GiB of memory.
bench-full: install
	-SCALE=10 $(BIN)/python -m tests.bench observe month writes urgent
	-SCALE=50 $(BIN)/python -m tests.bench tickets
	KILLS=1000 $(BIN)/python -m tests.bench full-pass board store kills fleet

lock:
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 pyproject.toml --group dev -o requirements-dev.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 pyproject.toml --extra fleet --extra postgres --extra otel -o requirements-run.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 --group deploy -o requirements-deploy.lock
	echo 'uv==0.13.8' | $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 - -o requirements-uv.lock

clean:
	rm -rf .venv var
