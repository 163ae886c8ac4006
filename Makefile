# Everything runs in .venv, which the first target that needs it makes from requirements.lock.
PY := .venv/bin/python
OUT ?= runs/demo
SEED ?= 0
STAMP := .venv/.ready-$(shell cat requirements.lock pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)

# Each stage starts a dozen Python processes: without cached bytecode an import of torch takes twice
# as long, and uv leaves no cache.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos check bench lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## the environment: .venv with the pinned packages, shared libraries for Blender

$(STAMP): requirements.lock pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh
	@rm -f .venv/.ready-*; touch $(STAMP)

demo: setup ## seeds -> avatars -> tri-planes -> models -> new avatars -> runs/demo/report.html
	@$(PY) -m pipelines.run --preset demo --out $(OUT)

test: setup ## all tests, with the tiny chain through Blender, Ray and MLflow
	@bash scripts/optional.sh chromium chromium chromium-browser google-chrome for tests of pages
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

chaos: setup ## half an hour of faults over short chains: kills, lost nodes, full disks; prints a table
	@bash scripts/optional.sh faketime /usr/lib/x86_64-linux-gnu/faketime for faults of clocks
	@$(PY) -m tests.chaos.suite --seed $(SEED)

check: setup ## linter and type checker
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

bench: setup ## the speed tables
	@for f in tests/benchmarks/bench_*.py; do echo "== $$f"; $(PY) $$f || exit 1; done

lock: ## pin the packages again, after a change of pyproject.toml
	@.venv/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock

clean: ## removes .venv and caches; keeps runs/
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
