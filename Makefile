# make demo: the page. make test: all tests. make bench COCO=DIR: every number of the README. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
COCO ?= examples
BIN := $(VENV)/bin

.PHONY: demo test bench clean

demo: $(VENV)/.installed
	$(BIN)/python demo/app.py

test: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest

bench: $(VENV)/.installed-for-tests
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python -m benchmarks.scores
	$(BIN)/python -m benchmarks.page
	$(BIN)/python -m benchmarks.evaluation --coco $(COCO)
	$(BIN)/python -m benchmarks.quality --coco $(COCO)
	$(BIN)/python -m benchmarks.careful --coco $(COCO)

$(VENV)/.installed: requirements.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'segcore needs Python 3.11 or newer; name one with: make PYTHON=python3.12 demo')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed tests/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

clean:
	rm -rf $(VENV)
