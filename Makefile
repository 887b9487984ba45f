# DCASE 2018 Task 2, from clips to a ranked submission. `make` alone tells what there is.

# demo (synthesized), fsdkaggle2018 (downloaded), or a folder in Kaggle's or Zenodo's layout; a path
# without spaces.
DATASET ?= demo
# compact is the small tagger of our own, large one for a GPU; baseline is the reference to the letter;
# quick learns the demo in seconds; yamnet is for fine-tuning: FIT_FLAGS="--init-from yamnet.h5".
PRESET ?= compact
SEED ?= 0
# More options for fit, such as FIT_FLAGS="--epochs 1".
FIT_FLAGS ?=
PYTHON ?= python3.11

VENV = .venv
DCASE = $(VENV)/bin/dcase2018
DATA = $(if $(filter demo fsdkaggle2018,$(DATASET)),data/$(DATASET),$(DATASET:/=))
NAME = $(notdir $(DATA))

ifneq ($(filter fsdkaggle2018,$(DATASET))$(wildcard $(DATA)/FSDKaggle2018.meta),)
TRAIN_AUDIO = $(DATA)/FSDKaggle2018.audio_train
TEST_AUDIO = $(DATA)/FSDKaggle2018.audio_test
TRAIN_CSV = $(DATA)/FSDKaggle2018.meta/train_post_competition.csv
TRUTH_CSV = $(DATA)/FSDKaggle2018.meta/test_post_competition_scoring_clips.csv
SAMPLE_CSV =
else
TRAIN_AUDIO = $(DATA)/audio_train
TEST_AUDIO = $(DATA)/audio_test
TRAIN_CSV = $(DATA)/train.csv
# Kaggle's layout has no truth of the test clips; where somebody put it beside, it is scored.
TRUTH_CSV = $(if $(filter demo,$(DATASET)),$(DATA)/test_post_competition.csv,$(wildcard $(DATA)/test_post_competition.csv))
SAMPLE_CSV = $(if $(filter demo,$(DATASET)),$(DATA)/sample_submission.csv,$(wildcard $(DATA)/sample_submission.csv))
endif

# The feature recipe that each preset learns from; stores are shared by the presets of one recipe.
RECIPE_baseline = baseline
RECIPE_quick = baseline
RECIPE_compact = wide
RECIPE_large = wide
RECIPE_yamnet = yamnet
RECIPE = $(RECIPE_$(PRESET))

FEATURES = features/$(NAME)/$(RECIPE)
RUN = runs/$(NAME)/$(PRESET)
# Clips that could not be used (exit code 3) were listed, and do not stop the work.
EXTRACT = extract() { $(DCASE) extract --recipe $(RECIPE) "$$@" || [ $$? -eq 3 ]; }; extract

.DELETE_ON_ERROR:
.PHONY: help venv data features train submission test test-slow bench lint format clean

help: ## print the targets
	@echo "make TARGET [DATASET=demo|fsdkaggle2018|FOLDER] [PRESET=compact|large|baseline|quick|yamnet] [SEED=0] [FIT_FLAGS=...]"
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14 | sed 's/^/  /'

venv: $(VENV)/.installed ## make the virtual environment
data: $(TRAIN_CSV) ## synthesize the demo corpus, or download FSDKaggle2018
features: $(FEATURES)/train.h5 $(FEATURES)/test.h5 ## extract the features of all clips
train: $(RUN)/model.keras ## train a network
submission: $(RUN)/submission.csv $(if $(TRUTH_CSV),$(RUN)/evaluation.csv) ## train, evaluate and write a Kaggle submission
	@echo "submission: $(RUN)/submission.csv"
	@[ -z "$(TRUTH_CSV)" ] || awk -F, '$$1 == "overall" { printf "MAP@3 on %d test clips: %.4f\n", $$2, $$3 }' $(RUN)/evaluation.csv

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The corpus appears whole: what lies beside train.csv is there when it is.
data/demo/train.csv: | $(VENV)/.installed
	$(DCASE) synthesize data/demo
$(addprefix data/demo/,audio_train audio_test test_post_competition.csv sample_submission.csv): | data/demo/train.csv ;

# The training clips are the last to come: when they are there, so is all else.
ZENODO = data/fsdkaggle2018/FSDKaggle2018
$(ZENODO).audio_train: | $(VENV)/.installed
	$(DCASE) download data/fsdkaggle2018
$(addprefix $(ZENODO).,audio_test meta/train_post_competition.csv meta/test_post_competition_scoring_clips.csv): | $(ZENODO).audio_train ;

$(FEATURES)/train.h5: $(TRAIN_AUDIO) | $(VENV)/.installed
	$(EXTRACT) $< $@
$(FEATURES)/test.h5: $(TEST_AUDIO) | $(VENV)/.installed
	$(EXTRACT) $< $@

$(RUN)/model.keras: $(FEATURES)/train.h5 $(TRAIN_CSV)
	$(DCASE) fit $^ $(RUN) --preset $(PRESET) --seed $(SEED) --force $(FIT_FLAGS)

$(RUN)/evaluation.csv: $(FEATURES)/test.h5 $(TRUTH_CSV) $(RUN)/model.keras
	$(DCASE) evaluate $(wordlist 1,2,$^) $(RUN) --output $@
$(RUN)/submission.csv: $(FEATURES)/test.h5 $(RUN)/model.keras $(SAMPLE_CSV)
	$(DCASE) predict $< $@ $(RUN) $(addprefix --sample ,$(SAMPLE_CSV))

test: $(VENV)/.installed-dev ## run the tests (5 minutes)
	$(VENV)/bin/pytest -n auto
test-slow: $(VENV)/.installed-dev ## run the tests that take longer
	$(VENV)/bin/pytest -m slow
bench: $(VENV)/.installed-dev ## measure the speed of each part beside a comparator, into bench.json
	$(VENV)/bin/python tests/benchmarks/run.py bench.json
lint: $(VENV)/.installed-dev ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
format: $(VENV)/.installed-dev ## put the code in form
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
clean: ## remove the demo corpus, all features and runs; keep the virtual environment
	rm -rf data/demo runs features/*/ features/.*.shards
