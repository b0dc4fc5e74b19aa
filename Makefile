# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.veedor-set-up
DEMO := demo
# Label Studio makes its empty database in half a minute: once here, and copied by tests.
NEW_STUDIO = PYTHONPATH=$(VENV)/label_studio LABEL_STUDIO_BASE_DATA_DIR=$(abspath $(VENV)/label_studio/new) \
	COLLECT_ANALYTICS=false LATEST_VERSION_CHECK=false $(BIN)/python -m label_studio.server version
BENCHMARKS := $(filter-out %/common.py %/slow_store.py %/small_jobs.py %/table.py,$(wildcard benchmarks/*.py))

.PHONY: setup tools demo test faults check bench clean

setup: $(SETUP)

# Finished steps are not run again: the stamp is newer than what decides the environment.
$(SETUP): pyproject.toml constraints.txt tests/references.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	# References that tests compare with, beside their own versions of what is pinned.
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/references -r tests/references.txt
	touch $@

# Annotation tools themselves, for the tests that use them: hundreds of MB each, and so not part of the setup.
tools: $(VENV)/label_studio/.veedor-set-up $(VENV)/fiftyone/.veedor-set-up

$(VENV)/%/.veedor-set-up: tests/%.txt | $(SETUP)
	rm -rf $(VENV)/$*
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --target $(VENV)/$* -r $<
	@test $* != label_studio || $(NEW_STUDIO) > $(VENV)/$*.log 2>&1 || { cat $(VENV)/$*.log; exit 1; }
	touch $@

demo: setup
	$(BIN)/python -m cluster.demo $(DEMO)

# Two sessions side by side, on a core and a Ray cluster each.
FIRST := tests/cvcore tests/cluster tests/e2e $(wildcard tests/jobs/test_train*.py) tests/test_layering.py
test: setup tools
	bash .ci/system-packages
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(FIRST) > $(VENV)/first-tests.log 2>&1 & \
	first=$$!; \
	$(BIN)/python -m pytest $(addprefix --ignore=,$(FIRST)); others=$$?; \
	wait $$first; first=$$?; cat $(VENV)/first-tests.log; \
	exit $$((others ? others : first))

# The tests of tests/faults with all their parameters: takes long, and makes docs/reliability.md.
faults: setup
	bash .ci/system-packages
	rm -f docs/reliability.json
	VEEDOR_FAULTS=full VEEDOR_FAULTS_JSON=docs/reliability.json $(BIN)/python -m pytest --timeout=7200 tests/faults
	$(BIN)/python -m tests.faults.table docs/reliability.json > docs/reliability.md

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

bench: setup
	for peer in daft video_peers track_peers anomaly_peers proposal_peers segment_peers; do test -d $(VENV)/$$peer || \
		$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/$$peer -r benchmarks/peers/$$peer.txt || exit 1; done
	for script in $(BENCHMARKS); do $(BIN)/python $$script --json || exit 1; done
	$(BIN)/python benchmarks/table.py

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
