# DCASE 2018 Task 2, from clips to a ranked submission. `make` alone prints the targets.
OPTIONS = DATASET DATASET_NAME PRESET SEED VALIDATION FORMAT EXTRACT_FLAGS FIT_FLAGS GROUPS_FROM SERVE_FLAGS
# `value` keeps a $ in a name, which make would expand.
$(foreach name,$(OPTIONS),$(eval override $(name) := $$(value $(name))))
export $(OPTIONS)
PYTHON ?= python3.13 python3.12 python3.11 python3 # those that TensorFlow supports, in the order to try
VENV = .venv
# pip shows its progress on a terminal only.
INSTALL = exec 3>&1; $(VENV)/bin/pip install $$(test -t 3 || echo --quiet) --constraint constraints.txt --editable
RUN = $(VENV)/bin/dcase2018 run
PIPELINE = data features train submission report export serve
.PHONY: help venv $(PIPELINE) test test-slow test-browser bench docs lint format clean

help: ## print the targets
	@echo "make TARGET [DATASET=demo|fsdkaggle2018|FOLDER] [DATASET_NAME=...] [SEED=0] [FORMAT=onnx|litert|saved-model]"
	@echo "            [PRESET=compact|compact-clean|large|baseline|quick|yamnet]"
	@echo "            [VALIDATION=0.1] [GROUPS_FROM=PATTERN] [EXTRACT_FLAGS=...] [FIT_FLAGS=...] [SERVE_FLAGS=...]"
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14 | sed 's/^/  /'
venv: $(VENV)/.installed ## make the virtual environment
data: ## synthesize the demo corpus, download FSDKaggle2018, or label your own folder
features: ## extract the features of all clips
train: ## train a model
submission: ## train, evaluate and write a Kaggle submission
report: ## write an HTML report of the tagger's results
export: $(VENV)/.installed-export ## export the tagger: FORMAT=onnx, litert or saved-model
serve: $(VENV)/.installed-serve ## serve the tagger as a web page: http://localhost:8000/
$(PIPELINE): $(VENV)/.installed
	@exec $(RUN) $@ --dataset="$${DATASET:-demo}" --name="$$DATASET_NAME" --preset="$${PRESET:-compact}" \
	  --seed="$${SEED:-0}" --validation="$${VALIDATION:-0}" --format="$${FORMAT:-onnx}" --groups-from="$$GROUPS_FROM" \
	  --extract-flags="$$EXTRACT_FLAGS" --fit-flags="$$FIT_FLAGS" --serve-flags="$$SERVE_FLAGS"

$(VENV)/.installed: pyproject.toml constraints.txt
	@for python in $(PYTHON); do \
	  "$$python" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	    && echo "$$python -m venv $(VENV)" && exec "$$python" -m venv $(VENV); \
	done; echo "no Python from 3.11 to 3.13 with venv among: $(PYTHON); install one (Debian: python3-venv)" >&2; exit 2
	@echo "installing dcase2018, TensorFlow and what they need in $(VENV): about 70 packages, 3 GB on disk, some minutes"
	@$(INSTALL) .
	@touch $@
$(VENV)/.installed-%: $(VENV)/.installed
	@echo "installing the packages of the extra '$*' in $(VENV)"
	@$(INSTALL) '.[$*]'
	@touch $@

test: $(VENV)/.installed-dev ## run the tests (5 minutes)
	$(VENV)/bin/pytest -n auto
test-slow: $(VENV)/.installed-dev ## run the tests that take longer
	$(VENV)/bin/pytest -m "slow and not browser" -n auto
test-browser: $(VENV)/.installed-dev ## run the tests of web pages in the system's Chromium
	$(VENV)/bin/pytest -m browser
bench: $(VENV)/.installed-dev ## measure the speed of each part, into bench.json
	$(VENV)/bin/python tests/benchmarks/run.py bench.json
docs: $(VENV)/.installed-dev ## build the documentation in site/
	$(VENV)/bin/mkdocs build --strict
lint: $(VENV)/.installed-dev ## check style and types
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy
format: $(VENV)/.installed-dev ## format the code
	$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .
clean: ## remove the demo corpus, all features and runs; keep the virtual environment
	rm -rf data/demo runs features/*/
