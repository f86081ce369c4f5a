# make demo: the page. make test: all tests. make quick: those that need seconds and no browser.
# make check: ruff, mypy, and ESLint over the page's scripts. make format: ruff. make docs: the documentation's site.
# make lock: requirements.lock anew.
# make bench COCO=DIR SPLIT=val2017: the documents' numbers. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
COCO ?= examples
SPLIT ?= samples
BIN := $(VENV)/bin
ESLINT := eslint@10.15.0

.PHONY: demo test quick check format docs lock bench train-small clean

demo: $(VENV)/.installed
	$(BIN)/python demo/app.py

test: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

quick: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not page and not slow and not gpu"

check: $(VENV)/.installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v npx >/dev/null; then echo "npx $(ESLINT) demo"; npx --yes $(ESLINT) demo; \
	else echo "The page's scripts were not checked: that needs npx, which comes with Node.js."; fi

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
	$(BIN)/python -m benchmarks.tta --coco $(COCO) --split $(SPLIT)
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

# The steps that made the small model, on photographs with truth in DATA and into RUN (see segcore/weights/README.md).
DATA ?= data
RUN ?= runs/small
LAST = --dataset $(DATA)/coco --split train2017 --categories voc --leave-out 000000000086,000000000542,000000204805 \
	--truth $(DATA)/truth/coco/images $(DATA)/truth/coco/labels \
	--truth $(DATA)/truth/voc_train/images $(DATA)/truth/voc_train/labels \
	--incomplete-truth $(DATA)/truth/sbd_quarter/images $(DATA)/truth/sbd_quarter/labels --truth-share 0.55 \
	--unlabelled $(DATA)/unlabelled_third/images --unlabelled-share 0.2 \
	--teacher $(RUN)/mean.safetensors --teacher-resize fit --batch-size 4 --crop 520 --scale 0.85 1.2 \
	--backbone-rate 0.1 --frozen-stages 14 --average 0.99 --output-stride 8 --balanced 0.4 --centred 0.3 \
	--hold-back 0 --save-every 50 --precision bfloat16
train-small: $(VENV)/.installed-for-tests
	mkdir -p $(RUN)
	$(BIN)/python -m segcore.training.start_weights $(DATA)/deeplabv3_mnv2_pascal_quant.tflite --to $(RUN)/start.safetensors
	$(BIN)/python -m segcore train --dataset $(DATA)/coco --split train2017 --categories voc \
		--leave-out 000000000086,000000000542,000000204805 --truth $(DATA)/truth/coco/images $(DATA)/truth/coco/labels \
		--incomplete-truth $(DATA)/truth/voc/images $(DATA)/truth/voc/labels --truth-share 0.6 \
		--unlabelled $(DATA)/unlabelled/images --unlabelled-share 0.22 \
		--model $(RUN)/start.safetensors --teacher $(RUN)/start.safetensors --steps 2400 --batch-size 8 --crop 328 \
		--scale 0.6 1.9 --learning-rate 3e-4 --backbone-rate 0.1 --frozen-stages 4 --average 0.997 --output-stride 16 \
		--balanced 0.4 --centred 0.5 --hold-back 0 --save-every 50 --precision bfloat16 --out $(RUN)/trained --resume
	$(BIN)/python -m segcore.training.average $(RUN)/trained/model.safetensors $(RUN)/start.safetensors $(RUN)/start.safetensors \
		--to $(RUN)/mean.safetensors
	$(BIN)/python -m segcore train $(LAST) --model $(RUN)/mean.safetensors --steps 600 --learning-rate 5e-4 --out $(RUN)/third --resume
	$(BIN)/python -m segcore train $(LAST) --model $(RUN)/third/model.safetensors --steps 450 --learning-rate 4e-4 --seed 1 \
		--cache $(RUN)/third --out $(RUN)/fourth --resume
	$(BIN)/python -m segcore.training.average $(RUN)/third/model.safetensors $(RUN)/fourth/model.safetensors --to $(RUN)/last.safetensors
	$(BIN)/python -m segcore.training.calibrate $(RUN)/last.safetensors --dataset $(DATA)/voc --split val \
		--to $(RUN)/deeplabv3_mobilenet_v2.safetensors

clean:
	rm -rf $(VENV)
