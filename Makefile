# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
BIN := .venv/bin
# One thread each: they would wait for each other.
WORKERS ?= 2
# Whatever the machine says: tests start many processes, and each would compile all that it imports.
KEEP_BYTECODE := PYTHONDONTWRITEBYTECODE=

.PHONY: demo test coverage bench test-long mutants test-device lint docs report-picture clean

demo: .venv/installed
	$(BIN)/holdfast demo

test: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/stubs.py --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(KEEP_BYTECODE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Which lines and branches no test reaches; ends with an error below 90 %.
coverage: .venv/tested
	$(KEEP_BYTECODE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term

# The slow lane: chance finds in it what no test looks for.
test-long: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzzing 10
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.crashing 50
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.enduring 60000

# The table of docs/results/mutants.md: what no test would notice.
mutants: .venv/mutated
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants $(ARGS)

# Installs nothing: a machine with a GPU has its own torch, and often no way to the network.
test-device:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m tests.device $(ARGS)

# The tables of docs/results/speed.md: minutes on a quiet core.
bench: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed.py

lint: .venv/tested
	$(BIN)/python tools/stubs.py
	$(BIN)/python tools/pages.py
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, into build/site. Whatever needs it was installed: the build asks nothing of the network.
docs: .venv/documented
	$(BIN)/python -m mkdocs build --strict

report-picture: .venv/installed
	rm -rf build/picture && mkdir -p build/picture
	cd build/picture && $(CURDIR)/$(BIN)/holdfast demo
	$(BIN)/python -m tools.site.screenshot build/picture/runs/demo/report/report.html docs/report.png

.venv/documented: .venv/installed pyproject.toml
	$(BIN)/pip install -e ".[docs]"
	touch $@

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -e .
	touch $@

.venv/tested: .venv/installed pyproject.toml tests/peers.txt
	$(BIN)/pip install -e ".[test]"
	$(BIN)/pip install --no-deps -r tests/peers.txt
	touch $@

.venv/mutated: .venv/tested
	$(BIN)/pip install -e ".[mutants]"
	touch $@

clean:
	rm -rf .venv build dist
