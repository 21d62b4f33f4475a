# One entry for people. `make demo` and `make test` do all the set-up on a fresh Debian 12 or 13 machine.
PYTHON := .venv/bin/python
.PHONY: setup demo test test-faults soak test-vagrant test-trixie fuzz coverage check format bench bench-planes docs bpf clean

setup:      ## install what is missing: Debian packages by name, .venv
	@scripts/setup.sh

demo: setup ## the main job: lab up, apply, verify, self-test on the RB4 preset
	@.venv/bin/rbops demo

# The processes that tests run in, side by side: one more than two processors, as labs often wait.
WORKERS ?= 3
test: setup ## every test this machine can run; WORKERS=2 in two processes
	@scripts/setup-full-kernel.sh
	@scripts/setup-browser.sh
	@$(PYTHON) -m compileall -q rbops  # once: many tests start it, and where PYTHONDONTWRITEBYTECODE is set each would compile
	@mkdir -p build; rm -f build/tests.jsonl
	@RBOPS_FAULTS_RECORD=build/tests.jsonl $(PYTHON) -m pytest -n $(WORKERS) --dist loadgroup -p tests.faults.record

# RBOPS_FAULTS_SERVERS=4 makes the lab one of four: half as long again.
test-faults: setup ## every fault of the matrix and every promise; writes docs/faults.md. An hour and a half on two cores
	@$(PYTHON) -m scripts.faults run

CHANGES ?= 200
soak: setup ## random changes under traffic with random kills: CHANGES=200
	@$(PYTHON) -m tests.faults.soak --changes $(CHANGES)

test-vagrant: setup ## the tests that need virtual machines: about half an hour without KVM
	@scripts/setup-vagrant.sh
	@$(PYTHON) -m pytest -m vagrant tests/vagrant

test-trixie: ## set-up, the tests that need no lab, and those that load BPF, in a Debian 13 system: Python 3.13, clang 19
	@scripts/test-trixie.sh

# Seconds (3600 is an hour) for all targets side by side, and which ones: all seven unless named.
SECONDS ?= 60
TARGETS ?=
fuzz: setup ## coverage-guided fuzzing of what rbops reads: SECONDS=3600 TARGETS="spec click facts netlink capture agent node"
	@scripts/setup-fuzz.sh
	@$(PYTHON) -m tests.fuzz --seconds $(SECONDS) $(TARGETS)

coverage: setup ## which lines of rbops/ every test this machine can run reaches; verbs run as processes included
	@$(PYTHON) -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term

check: setup ## lint, format and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

format: setup
	@$(PYTHON) -m ruff check --fix-only .
	@$(PYTHON) -m ruff format .

bench: setup ## the data plane against a bare redirect and the kernel, and the planner, as ratios from one run
	@$(PYTHON) bench/dataplane.py
	@$(PYTHON) bench/planning.py
	@$(PYTHON) bench/simulate.py

bench-planes: setup ## all data planes, Click and DPDK's testpmd on the same veth path: table and plot in build/bench
	@scripts/setup-bench.sh
	@$(PYTHON) bench/planes.py

docs: setup ## what is generated of the documentation: the command line's reference and the man pages
	@$(PYTHON) -m scripts.reference

bpf:        ## compile the BPF programs in place
	@$(PYTHON) -m rbops.dataplane.xdp.controller.compile

clean:      ## remove what was built here; labs are removed by `rbops lab down`
	@rm -rf build dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache rbops/dataplane/xdp/obj rbops/lab/cables/obj rbops/selftest/obj
