# DCASE 2018 Task 2, from clips to a ranked submission. `make` alone tells what there is.

# demo (synthesized), fsdkaggle2018 (downloaded), or a folder without spaces in its path: in Kaggle's or
# Zenodo's layout, or of your own, whose subfolders are the classes.
DATASET ?= demo
# compact is the small tagger of our own, compact-clean the same on labels that five others have corrected, and
# large one for a GPU; baseline is the reference to the letter; quick learns the demo in seconds; yamnet is for
# fine-tuning: FIT_FLAGS="--init-from yamnet.h5".
PRESET ?= compact
SEED ?= 0
# What `make export` writes: onnx, litert or saved-model.
FORMAT ?= onnx
# More options, such as EXTRACT_FLAGS="--hparams mel_bands=128" and FIT_FLAGS="--epochs 1". Features and runs
# with options have folders of their own, named by them.
EXTRACT_FLAGS ?=
FIT_FLAGS ?=
SERVE_FLAGS ?=
# Pythons to try: those that TensorFlow's packages exist for, the newest first.
PYTHON ?= python3.13 python3.12 python3.11 python3

VENV = .venv
DCASE = $(VENV)/bin/dcase2018

# The feature recipe that each preset learns from; stores are shared by the presets of one recipe.
RECIPE_baseline = baseline
RECIPE_quick = baseline
RECIPE_compact = wide
RECIPE_compact-clean = wide
RECIPE_large = wide
RECIPE_yamnet = yamnet
PRESETS = compact compact-clean large baseline quick yamnet
$(if $(filter $(PRESETS),$(PRESET)),,$(error PRESET=$(PRESET) is none of $(PRESETS)))

# Corpora that are made here lie in data/; others are known by their path.
ifneq ($(words $(DATASET)),1)
$(error DATASET="$(DATASET)" is no path without spaces; give a link to it)
endif
ifneq ($(filter demo fsdkaggle2018,$(DATASET)),)
DATA = data/$(DATASET)
else
DATA := $(abspath $(DATASET))
$(if $(wildcard $(DATA)/.),,$(error DATASET=$(DATASET) is no folder, nor demo or fsdkaggle2018))
endif

# What the features, runs and label files of a corpus are named by; and by what is not as the preset has it.
NAME ?= $(notdir $(DATA))
comma = ,
plain = $(subst =, ,$(subst /, ,$(subst $(comma), ,$(subst ",,$(subst ',,$(1))))))
words-of = $(subst $(empty) ,,$(patsubst %,-%,$(patsubst -%,%,$(patsubst --%,%,$(filter-out --hparams,$(plain))))))
RECIPE = $(RECIPE_$(PRESET))
FEATURES = features/$(NAME)/$(RECIPE)$(call words-of,$(EXTRACT_FLAGS))
RUN = runs/$(NAME)/$(PRESET)$(call words-of,$(EXTRACT_FLAGS) $(addprefix seed ,$(filter-out 0,$(SEED))) $(FIT_FLAGS))
TRAINED = $(RUN)/$(if $(findstring --folds,$(FIT_FLAGS)),out_of_fold.csv,model.keras)
EXPORTED = $(RUN)/$(FORMAT)/README.md
# The demo is learned in half of the epochs.
LEARNS = --preset $(PRESET:-clean=) --seed $(SEED) --force $(if $(filter demo.compact%,$(DATASET).$(PRESET)),--epochs 50)
TRAIN_STORE = $(FEATURES)/train.h5
TEST_STORE = $(FEATURES)/test.h5

# Features and runs are those of one corpus: another of the same name is refused.
OWNERS = features/$(NAME)/dataset.txt runs/$(NAME)/dataset.txt
$(foreach owner,$(wildcard $(OWNERS)),$(if $(filter $(abspath $(DATA)),$(shell cat $(owner))),,$(error \
$(dir $(owner)) is of $(shell cat $(owner)), not of $(abspath $(DATA)); give another name: NAME=...)))

ifneq ($(filter fsdkaggle2018,$(DATASET))$(wildcard $(DATA)/FSDKaggle2018.*),)
TRAIN_AUDIO = $(DATA)/FSDKaggle2018.audio_train
TEST_AUDIO = $(DATA)/FSDKaggle2018.audio_test
TRAIN_CSV = $(DATA)/FSDKaggle2018.meta/train_post_competition.csv
TRUTH_CSV = $(DATA)/FSDKaggle2018.meta/test_post_competition_scoring_clips.csv
else ifneq ($(filter demo,$(DATASET))$(wildcard $(DATA)/train.csv $(DATA)/audio_train),)
TRAIN_AUDIO = $(DATA)/audio_train
TEST_AUDIO = $(DATA)/audio_test
TRAIN_CSV = $(DATA)/train.csv
# Kaggle's layout has no truth of the test clips; where somebody put it beside, it is scored.
TRUTH_CSV = $(if $(filter demo,$(DATASET)),$(DATA)/test_post_competition.csv,$(wildcard $(DATA)/test_post_competition.csv))
SAMPLE_CSV = $(if $(filter demo,$(DATASET)),$(DATA)/sample_submission.csv,$(wildcard $(DATA)/sample_submission.csv))
else
# A folder of one's own: one store for all clips, and a fifth of them held out to test.
TEST_AUDIO = $(DATA)
LABELS = features/$(NAME)/labels.csv
TRAIN_CSV = features/$(NAME)/train.csv
TRUTH_CSV = features/$(NAME)/validation.csv
SAMPLE_CSV = $(TRUTH_CSV)
TRAIN_STORE = $(FEATURES)/clips.h5
TEST_STORE = $(TRAIN_STORE)
endif
ifeq ($(filter demo fsdkaggle2018,$(DATASET))$(LABELS),)
$(foreach part,$(TRAIN_AUDIO) $(TEST_AUDIO) $(TRAIN_CSV) $(TRUTH_CSV),$(if $(wildcard $(part)),,$(error \
$(DATA) lacks $(notdir $(part)))))
endif

ifneq ($(and $(filter %-clean,$(PRESET)),$(wildcard $(TRAIN_CSV))$(LABELS)),)
$(if $(findstring manually_verified,$(shell head -n 1 $(TRAIN_CSV) 2>/dev/null)),,$(error \
PRESET=$(PRESET) corrects labels that nobody has checked, and $(TRAIN_CSV) does not tell which (manually_verified)))
endif

# Clips that could not be used (exit code 3) were listed, and do not stop the work. A store is of its corpus alone,
# so that clips which are gone from there may go from it: --force.
EXTRACT = extract() { $(DCASE) extract --recipe $(RECIPE) --force "$$@" $(EXTRACT_FLAGS) || [ $$? -eq 3 ]; }; extract
# FORCE if a folder ($1) holds anything newer than what is made of it ($2).
stale = $(if $(wildcard $(2)),$(if $(shell find -L $(1) -newer $(2) -print -quit 2>/dev/null),FORCE))

# What a command writes appears whole, so that an interrupted make has nothing to remove.
.PRECIOUS: $(TRAIN_STORE) $(TEST_STORE) $(TRAINED) $(RUN)-folds/out_of_fold.csv $(RUN)-labels.csv $(LABELS) $(TRAIN_CSV) $(TRUTH_CSV) $(RUN)/evaluation.csv $(RUN)/submission.csv $(EXPORTED)
.PHONY: help venv data features train submission serve export report test test-slow test-browser bench lint format clean FORCE

help: ## print the targets
	@echo "make TARGET [DATASET=demo|fsdkaggle2018|FOLDER] [SEED=0]"
	@echo "            [PRESET=compact|compact-clean|large|baseline|quick|yamnet]"
	@echo "            [EXTRACT_FLAGS=...] [FIT_FLAGS=...]"
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14 | sed 's/^/  /'

venv: $(VENV)/.installed ## make the virtual environment
data: $(TRAIN_CSV) ## synthesize the demo corpus, or download FSDKaggle2018, or label your own folder
features: $(TRAIN_STORE) $(TEST_STORE) ## extract the features of all clips
train: $(TRAINED) ## train a network
submission: $(RUN)/submission.csv $(if $(TRUTH_CSV),$(RUN)/evaluation.csv) ## train, evaluate and write a Kaggle submission
	@echo "submission: $(RUN)/submission.csv"
	@[ -z "$(TRUTH_CSV)" ] || awk -F, '$$1 == "overall" { printf "MAP@3 on %d test clips: %.4f\n", $$2, $$3 }' $(RUN)/evaluation.csv
report: $(RUN)/report/index.html ## show what the tagger does, in a page to look at and listen to
	@echo "report: $(abspath $<)"
export: $(EXPORTED) ## write the tagger as a folder for other programs: FORMAT=onnx, litert or saved-model
	@echo "exported: $(dir $(EXPORTED))"
serve: $(TRAINED) $(VENV)/.installed-serve ## try the tagger in a page: http://localhost:8000/
	$(DCASE) serve $(RUN) $(SERVE_FLAGS)

$(VENV)/.installed: pyproject.toml constraints.txt
	@for python in $(PYTHON); do \
	  "$$python" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	    && echo "$$python -m venv $(VENV)" && exec "$$python" -m venv $(VENV); \
	done; echo "no Python from 3.11 to 3.13 with venv among: $(PYTHON); install one (Debian: python3-venv)" >&2; exit 2
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-serve: $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[serve]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.installed-export: $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[export]'
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

$(OWNERS):
	@mkdir -p $(@D) && echo $(abspath $(DATA)) > $@

ifdef LABELS
$(LABELS): $(call stale,$(DATA),$(LABELS)) | $(OWNERS) $(VENV)/.installed
	$(DCASE) labels $(DATA) $@
$(TRAIN_CSV): $(LABELS)
	$(DCASE) split $< $(@D) --fraction 0.2
	@echo "held out to test: $(TRUTH_CSV)"
$(TRUTH_CSV): $(TRAIN_CSV) ;
$(TRAIN_STORE): $(LABELS)
	$(EXTRACT) $(DATA) $@ --labels $<
else
$(TRAIN_STORE): $(TRAIN_AUDIO) $(call stale,$(TRAIN_AUDIO),$(TRAIN_STORE)) | $(OWNERS) $(VENV)/.installed
	$(EXTRACT) $< $@
$(TEST_STORE): $(TEST_AUDIO) $(call stale,$(TEST_AUDIO),$(TEST_STORE)) | $(OWNERS) $(VENV)/.installed
	$(EXTRACT) $< $@
endif

# Networks that have not learned a clip tell whether its label is right, and what it is instead.
$(RUN)-folds/out_of_fold.csv: $(TRAIN_STORE) $(TRAIN_CSV)
	$(DCASE) fit $^ $(@D) $(LEARNS) --folds 5 --epochs 50 --hparams doubt_epochs=0
$(RUN)-labels.csv: $(TRAIN_CSV) $(RUN)-folds/out_of_fold.csv
	$(DCASE) suspects $(RUN)-folds/out_of_fold.csv $< $(RUN)-suspects.csv
	$(DCASE) relabel $^ $@

$(TRAINED): $(TRAIN_STORE) $(if $(filter %-clean,$(PRESET)),$(RUN)-labels.csv,$(TRAIN_CSV))
	$(DCASE) fit $^ $(RUN) $(LEARNS) $(FIT_FLAGS)

$(RUN)/evaluation.csv: $(TEST_STORE) $(TRUTH_CSV) $(TRAINED)
	$(DCASE) evaluate $(wordlist 1,2,$^) $(RUN) --output $@
$(RUN)/report/index.html: $(TEST_STORE) $(TRUTH_CSV) $(TRAINED)
	$(if $(TRUTH_CSV),,$(error $(DATA) has no labels of its test clips (test_post_competition.csv), so there is nothing to report))
	$(DCASE) report $(wordlist 1,2,$^) $(RUN) --output $(@D) --audio $(TEST_AUDIO)
$(RUN)/submission.csv: $(TEST_STORE) $(TRAINED) $(SAMPLE_CSV)
	$(DCASE) predict $< $@ $(RUN) $(addprefix --sample ,$(SAMPLE_CSV))
$(EXPORTED): $(TRAINED) | $(VENV)/.installed-export
	$(DCASE) export $(RUN) $(@D) --format $(FORMAT) --force

test: $(VENV)/.installed-dev ## run the tests (5 minutes)
	$(VENV)/bin/pytest -n auto
test-slow: $(VENV)/.installed-dev ## run the tests that take longer
	$(VENV)/bin/pytest -m "slow and not browser" -n auto
test-browser: $(VENV)/.installed-dev ## run the tests of pages, in the system's Chromium
	$(VENV)/bin/pytest -m browser
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
