# make demo: the page. make test: all tests. make check, make format: ruff. make docs: the documentation's site.
# make lock: requirements.lock anew.
# make bench COCO=DIR SPLIT=val2017: the documents' numbers. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
COCO ?= examples
SPLIT ?= samples
BIN := $(VENV)/bin

.PHONY: demo test check format docs lock bench clean

demo: $(VENV)/.installed
	$(BIN)/python demo/app.py

test: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-for-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-for-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lock:
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet -r requirements.txt -r tests/requirements.txt -r docs/requirements.txt
	echo "# What was tested together, with Python 3.11 on Linux; \`make lock\` writes this file." > requirements.lock
	$(VENV)-lock/bin/python -m pip freeze --all --exclude pip | sed 's/+cu[0-9]*$$//' >> requirements.lock
	rm -rf $(VENV)-lock

bench: $(VENV)/.installed-for-tests
	$(BIN)/python -m benchmarks --coco $(COCO) --split $(SPLIT)
	$(BIN)/python -m benchmarks.scores
	$(BIN)/python -m benchmarks.visitors --batches
	$(BIN)/python -m benchmarks.precision --coco $(COCO) --split $(SPLIT)
	$(BIN)/python -m benchmarks.careful --coco $(COCO) --split $(SPLIT)
	$(BIN)/python -m benchmarks.evaluation --coco $(COCO) --split $(SPLIT)
	$(BIN)/python -m benchmarks.quality --coco $(COCO) --split $(SPLIT)

$(VENV)/.installed: requirements.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'segcore needs Python 3.11 or newer; name one with: make PYTHON=python3.12 demo')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed tests/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

$(VENV)/.installed-for-docs: $(VENV)/.installed docs/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	touch $@

clean:
	rm -rf $(VENV)
