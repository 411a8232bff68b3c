# Everything runs in .venv, which the first target that needs it sets up.
PYTHON ?= python3
COLAB_PYTHON ?= python3.13
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One test process a core, and no more than four: each needs 2 GB. A file's tests share a process, the longest start first.
TOGETHER := -n logical --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help lab course test test-fast test-notebooks test-pages colab-test colab-test-full notebooks checkpoints results sweep results-check bench bench-widgets check format clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

lab: $(READY)  ## open the lessons in JupyterLab, as your own copies in my-notebooks/
	$(BIN)/python tools/lab.py

course: $(READY)  ## run every lesson from start to end on the embedded photos
	$(BIN)/python tools/course.py

# Pages are driven when nothing else runs: their tests look at memory, and at what happens between two moves.
test: $(READY)  ## run all tests (a quarter of an hour on two cores)
	$(BIN)/python -m pytest $(TOGETHER) -m 'not browser or colab'; others=$$?; \
	$(BIN)/python -m pytest -m 'browser and not colab' && exit $$others

test-fast: $(READY)  ## run the tests that need no notebook, browser or Colab, but for a few slow ones (two minutes on two cores)
	$(BIN)/python -m pytest $(TOGETHER) -m 'not notebook and not browser and not colab and not slow'

test-notebooks: $(READY)  ## run every notebook, solved in full and as shipped on a pretend card, and the slow tests
	$(BIN)/python -m pytest $(TOGETHER) -m 'notebook or slow'

test-pages: $(READY)  ## run the tests that drive a browser or stand in for Colab
	$(BIN)/python -m pytest -m 'browser or colab'

colab-test: $(READY)  ## run the tests that stand in for Colab (four minutes; part of `make test`)
	$(BIN)/python -m pytest -m colab

colab-test-full: $(READY)  ## run the course under all of Colab's versions, with python3.13 (a download of 3 GB)
	$(BIN)/python tools/colab_full.py $(COLAB_PYTHON)

notebooks: $(READY)  ## rebuild notebooks/ from lessons/, with outputs
	$(BIN)/python tools/notebooks.py

checkpoints: $(READY)  ## pretrain the networks that are missing: course ResNets of seeds 1 to 7 (about 25 minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/python data/make_checkpoints.py

results: $(READY)  ## run the experiments behind the stored rows again (about four hours on two cores)
	OMP_NUM_THREADS=1 $(BIN)/python data/make_results.py lesson00 lesson01 lesson02 lesson03 lesson05 lesson07 lesson08

sweep: checkpoints  ## run the map of lesson 4 again, resumable (about 80 minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/python data/make_results.py lesson04

results-check: checkpoints  ## run 20 random runs behind each lesson again and compare (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python data/check_results.py

bench: $(READY)  ## time the course side by side with the plain way and with other libraries (an hour), for docs/speed.md
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python benchmarks/run.py

bench-widgets: $(READY)  ## time how fast the widgets answer in a real browser (two minutes)
	$(BIN)/python benchmarks/widgets.py

check: $(READY)  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove build/ and Python's caches; .venv and my-notebooks/ stay
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache
	find transfer_utils tests tools data -name __pycache__ -type d -prune -exec rm -rf {} +
