# One command an intent. Needs Python >= 3.11 and make; everything else comes from the lock.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
# ONLY=--last-failed: what failed in the run before. Two targets at once keep that apart.
PYTEST = $(BIN)/python -m pytest -o cache_dir=.pytest_cache/$(@F) $(ONLY)
WORKERS ?= 2
# Some images set it. Without bytecode each start of a service compiles 200 modules, and each worker
# of pytest rewrites the assertions of all tests: a fifth of all CPU of the tests.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-slow check faults deaths faults-fast abuse e2e interop interop-fast format docs figures bench bench-roles bench-takeover peers gate gate-proof builds \
	mutants loadtest loadtest-proof bench-page firefox screenshots lock wheel test-compiled clean deploy-check dist

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: .venv/ready ## real servers, real calls, one page: everything embedded; Ctrl-C ends it all
	@$(BIN)/livestate demo

test: .venv/ready ## the tests on real servers, without those that wait for long timers
	@scripts/system-packages chromium redis-server curl strace nftables:nft systemd:systemd-analyze
	@$(PYTEST) -m "not slow" -n $(WORKERS) --dist loadfile

test-slow: .venv/ready ## the tests that wait for long timers, four at a time
	@scripts/system-packages chromium redis-server curl
	@$(PYTEST) -m slow -n 4 --dist worksteal

faults: .venv/ready ## all of what can go wrong, done to it; OUTAGE_SECONDS=300 SOAK_MINUTES=30 SEEDS=20 DIRECT=no ROLES=yes
	@scripts/system-packages chromium redis-server faketime nftables:nft
	@EXAMPLES=all $(PYTEST) tests/faults tests/abuse tests/promises/test_view.py
	@EXAMPLES=all $(PYTEST) -m hypothesis tests/unit tests/promises

deaths: .venv/ready ## engines, edges, NATS and Redis die in random order; DEATH_SEED=1 DEATH_MINUTES=2
	@scripts/system-packages chromium faketime
	@$(BIN)/python -m pytest tests/faults/test_deaths.py -s

faults-fast: .venv/ready ## the rows of it that take seconds
	@scripts/system-packages chromium redis-server faketime
	@$(PYTEST) tests/faults -m "not slow"

abuse: .venv/ready ## what strangers, clients, nodes and Redis may try, with 50,000 calls up; 6 minutes
	@scripts/system-packages redis-server curl nftables:nft
	@EXAMPLES=all $(PYTEST) tests/abuse

e2e: .venv/ready ## SIP phones, a real Kamailio, the bridge, and all behind it to the page; 8 minutes
	@scripts/system-packages chromium kamailio sip-tester:sipp \
		'kamailio-extra-modules:/usr/lib/*/kamailio/modules/evapi.so'
	@$(PYTEST) tests/e2e

interop: .venv/ready .venv/clients/ready .venv/proxies ## other people's clients, proxies and identity providers (needs npm)
	@scripts/system-packages chromium firefox-esr redis-server nodejs:node npm golang-go:go \
		default-jdk-headless:javac nginx-light:nginx haproxy
	@$(PYTEST) tests/interop

interop-fast: .venv/ready .venv/clients/ready .venv/proxies ## the part of it that CI runs; 3 minutes (needs npm)
	@scripts/system-packages chromium firefox-esr redis-server nodejs:node npm golang-go:go \
		default-jdk-headless:javac nginx-light:nginx haproxy
	@$(PYTEST) tests/interop -m fast -n $(WORKERS) --dist loadfile

deploy-check: .venv/ready .venv/deploy ## deploy/ validated and run: image, manifests, alerts, dashboards; 10 minutes
	@scripts/system-packages bubblewrap:bwrap prometheus redis-server kamailio nftables:nft \
		'kamailio-extra-modules:/usr/lib/*/kamailio/modules/evapi.so' systemd:systemd-analyze \
		buildah debootstrap $$(command -v kubectl >/dev/null || echo kubernetes-client:kubectl)
	@$(PYTEST) -n $(WORKERS) --dist loadfile tests/deploy

check: .venv/ready ## format, lint, types, arrows of the house, generated docs, what tests hold of the sources
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m docs.generate --check
	@$(BIN)/python -m pytest -q tests/unit/test_docs.py tests/unit/test_source_rules.py tests/abuse/test_map.py

format: .venv/ready ## what the formatter can mend
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: .venv/ready ## write what is generated: settings, contract, state diagram
	@$(BIN)/python -m docs.generate

figures: .venv/ready ## measure what is promised, pure and compiled side by side, into docs/figures.md; 15 minutes
	@scripts/compiler $(BIN)/python || true  # missing: said so
	@scripts/system-packages nginx-light:nginx libnginx-mod-nchan:/usr/lib/nginx/modules/ngx_nchan_module.so || true  # missing: said so
	@$(BIN)/python -m bench.figures --write

bench: .venv/ready ## each stage until its queues are empty, and how it grows, into docs/stages.md
	@$(BIN)/python -m bench.stages --write

loadtest: .venv/ready ## Locust against real servers, judged: PROFILE=ci|pilot|capacity|storm|soak
	@$(BIN)/livestate loadtest --profile $(or $(PROFILE),ci) $(LOADTEST)

loadtest-proof: .venv/ready ## a planted fault is caught by the load test, each of them; TIMES=5
	@$(BIN)/python -m loadtest.self_test --times $(or $(TIMES),1)

bench-roles: .venv/ready ## an engine with edges beside a single process, as ratios; BENCH=--write
	@$(BIN)/python -m bench.roles $(BENCH)

bench-takeover: .venv/ready ## what clients notice when engines and edges die or are replaced; BENCH=--write
	@$(BIN)/python -m bench.takeover $(BENCH)

peers: .venv/ready ## livestate beside what one would pick instead, in one run, into docs/benchmarks.md
	@scripts/system-packages nginx-light:nginx libnginx-mod-nchan:/usr/lib/nginx/modules/ngx_nchan_module.so || true  # missing: said so
	@$(BIN)/python -m bench.peers --write

gate: .venv/ready ## what this commit costs against its merge-base; BASE=<commit> for another one
	@scripts/system-packages valgrind
	@$(BIN)/python -m bench.gate $(if $(BASE),--base $(BASE))

gate-proof: .venv/ready ## the gate passes A/A and fails 20 % more work, five times out of five
	@scripts/system-packages valgrind
	@$(BIN)/python -m bench.gate.self_test

builds: .venv/ready ## the hot paths and the memory of a call, pure and compiled side by side
	@scripts/system-packages valgrind
	@scripts/compiler $(BIN)/python
	@$(BIN)/python -m bench.builds

mutants: .venv/ready ## small faults planted in the core: which ones no test notices; SAMPLE=200 SEED=1
	@$(BIN)/python -m tests.mutants --sample $(or $(SAMPLE),200) --seed $(or $(SEED),1)

firefox: .venv/ready ## the page in Firefox ESR, where it may differ from Chromium
	@scripts/system-packages firefox-esr
	@$(PYTEST) tests/firefox

bench-page: .venv/ready ## 10,000 calls on the page: main thread, pictures a second; MINUTES=30 also its memory
	@scripts/system-packages chromium
	@$(BIN)/python -m bench.page
	@$(if $(MINUTES),$(BIN)/python -m bench.page_heap --minutes $(MINUTES))

screenshots: .venv/ready ## pictures of the page, to look at
	@scripts/system-packages chromium
	@$(BIN)/python -m bench.screenshots

LOCK = .venv/uv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header

dist: .venv/ready ## the wheel and the source archive
	@rm -rf dist && $(BIN)/hatchling build -d dist

wheel: .venv/ready ## the pure wheel and one compiled for this Python, into dist/ (a minute)
	@scripts/compiler $(BIN)/python
	@rm -rf dist && $(BIN)/hatchling build -t wheel -d dist
	@LIVESTATE_COMPILE=1 $(BIN)/hatchling build -t wheel -d dist

# Of the unit tests those of the households with compiled modules.
COMPILED_TESTS = $(addprefix tests/unit/,contract fanout ingest process state store) tests/promises

test-compiled: .venv/ready ## a compiled wheel in an environment of its own, and the tests of what it holds; 3 minutes
	@scripts/compiler $(BIN)/python
	@scripts/system-packages redis-server
	@scripts/compiled-venv .venv .venv/compiled
	@PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONSAFEPATH=1 LIVESTATE_TEST_BUILD=compiled \
		.venv/compiled/bin/python -m pytest -o cache_dir=.pytest_cache/$(@F) $(ONLY) --import-mode=append \
		-m "not slow" -n $(WORKERS) --dist loadfile $(COMPILED_TESTS)

lock: ## resolve requirements.lock and the locks of deploy/ anew
	@$(PYTHON) -m venv .venv/uv && .venv/uv/bin/pip install -q uv
	@$(LOCK) --extra dev pyproject.toml -o requirements.lock
	@$(LOCK) -c requirements.lock pyproject.toml -o deploy/runtime.lock
	@echo hatchling | $(LOCK) -c requirements.lock - -o deploy/build.lock
	@$(LOCK) -c requirements.lock deploy/tools.in -o deploy/tools.lock
	@$(LOCK) -c requirements.lock tests/interop/clients.in -o tests/interop/clients.lock
	@$(LOCK) -c requirements.lock tests/interop/proxies.in -o tests/interop/proxies.lock

clean: ## everything that is made
	@rm -rf .venv .mypy_cache .ruff_cache .hypothesis .livestate .import_linter_cache .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "livestate needs Python 3.11 or newer"; exit 1; }
	@echo "making .venv from requirements.lock with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/proxies: .venv/ready tests/interop/proxies.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/interop/proxies.lock
	@touch $@

.venv/deploy: .venv/ready deploy/tools.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r deploy/tools.lock
	@touch $@

# Clients of the stream that only tests/interop runs, apart from what the service needs.
.venv/clients/ready: .venv/ready tests/interop/clients.lock
	@$(PYTHON) -m venv .venv/clients
	@.venv/clients/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r tests/interop/clients.lock
	@touch $@
