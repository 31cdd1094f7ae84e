# upd-zoo. `make` alone prints this menu. Every target makes .venv first if it is not there.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= out
READY  := $(VENV)/ready

# How long GNU's OpenMP threads spin while they wait. A training step of RD, on two cores: 0.2 s with its default and with
# this value; where another program keeps a core busy, 4.1 s and 0.8 s.
export GOMP_SPINCOUNT ?= 10000

.DEFAULT_GOAL := help
.PHONY: phantoms reproduce-table-i reproduce-fig-1 help demo test check format lint types arrows schemas bench tables pictures compare prepare pretrain train export publish score evaluate clean

help:  ## print this menu
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(BIN)/python -m ensurepip > /dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[train,prepare,figures,dev,oracle]'
	@touch $@

demo: $(READY)  ## the whole chain on phantoms, from nothing to reports, in under five minutes
	@$(BIN)/python scripts/demo.py $(OUT)/demo

test: $(READY)  ## all tests
	@$(BIN)/python -m pytest

check: lint types arrows schemas test  ## format, lint, types, arrows, schemas, tests

format: $(READY)  ## put the code into its format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(READY)  ## format and lint, changing nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(READY)  ## static types
	@$(BIN)/mypy zoo harness scripts tests

arrows: $(READY)  ## who may import whom
	@$(BIN)/lint-imports

schemas: $(READY)  ## whether the published JSON Schemas are current
	@$(BIN)/python scripts/schemas.py --check

bench: $(READY)  ## speed, as ratios in one run
	@$(BIN)/python scripts/bench.py

tables: $(READY)  ## write the tables of the cards: parameters and settings
	@$(BIN)/python scripts/parameters.py
	@$(BIN)/python scripts/settings.py

pictures: $(READY)  ## draw the synthetic anomalies that the method cards show
	@$(BIN)/python scripts/pictures.py

compare: phantoms  ## every method on every phantom, as tables and pictures: make compare [WEIGHTS=file]
	@$(BIN)/python scripts/compare.py $(OUT)/compare $(if $(WEIGHTS),--weights '$(WEIGHTS)')

prepare: $(READY)  ## fill a prepared store: make prepare DOMAIN=phantom-t2 [ROOT=folder] [PROTOCOL=study]
	@$(BIN)/python scripts/prepare.py $(DOMAIN) $(if $(ROOT),--root '$(ROOT)') $(if $(PROTOCOL),--protocol $(PROTOCOL))

pretrain: $(READY)  ## pre-train by CCD what a model starts from: make pretrain MODEL=vae-phantom-t2-ccd [PROFILE=quick] [PROTOCOL=study]
	@$(BIN)/python scripts/pretrain_ccd.py $(MODEL) --out $(OUT)/pretraining/$(MODEL) $(if $(PROFILE),--profile $(PROFILE)) $(if $(PROTOCOL),--protocol $(PROTOCOL)) $(if $(WEIGHTS),--weights '$(WEIGHTS)')

train: WEIGHTS ?= $(if $(filter %-ccd,$(MODEL)),$(OUT)/pretraining/$(MODEL)/backbone)
train: $(READY)  ## train a model: make train MODEL=vae-phantom-t2 [PROFILE=quick] [PROTOCOL=study] [WEIGHTS=file]
	@$(BIN)/python scripts/train.py $(MODEL) --out $(OUT)/runs/$(MODEL) $(if $(PROFILE),--profile $(PROFILE)) $(if $(PROTOCOL),--protocol $(PROTOCOL)) $(if $(WEIGHTS),--weights '$(WEIGHTS)')

export: $(READY)  ## make the artefact of a run: make export MODEL=vae-phantom-t2
	@$(BIN)/python scripts/export.py $(OUT)/runs/$(MODEL) --out $(OUT)/artefacts/$(MODEL)

publish: $(READY)  ## publish an artefact: make publish MODEL=vae-phantom-t2 HUB=folder
	@$(BIN)/python scripts/publish.py $(OUT)/artefacts/$(MODEL) $(if $(HUB),--hub '$(HUB)')

score: $(READY)  ## score a folder: make score MODEL=vae-phantom-t2 INPUT=folder [HUB=folder]
	@$(BIN)/upd-zoo score '$(INPUT)' -m $(MODEL) -o $(OUT)/scores/$(MODEL) $(if $(HUB),--hub '$(HUB)')

evaluate: $(READY)  ## measure on a test set: make evaluate MODEL=vae-phantom-t2 [HUB=folder]
	@$(BIN)/upd-zoo evaluate -m $(MODEL) -o $(OUT)/evaluation/$(MODEL) $(if $(HUB),--hub '$(HUB)')

phantoms: $(READY)  ## fill the stores of a small population of every kind of phantom
	@for domain in phantom-t1 phantom-t2; do $(BIN)/python scripts/prepare.py $$domain --subjects 10 || exit; done
	@for domain in phantom-cxr phantom-fundus; do $(BIN)/python scripts/prepare.py $$domain --subjects 160 || exit; done

reproduce-table-i: $(READY)  ## images of every store, beside Table I of the study
	@$(BIN)/upd-zoo reproduce table-i -o $(OUT)/reproduced

# Exit code 4: no test set is prepared. Then phantoms stand in, and say so.
reproduce-fig-1: $(READY)  ## sizes and brightness of lesions: Figure 1 of the study, from what is prepared, else from phantoms
	@$(BIN)/upd-zoo reproduce fig-1 -o $(OUT)/reproduced || { test $$? -eq 4 && echo 'Phantoms stand in.' >&2 && $(MAKE) --no-print-directory phantoms && $(BIN)/upd-zoo reproduce fig-1 -o $(OUT)/reproduced; }

reproduce-%: $(READY)
	@$(BIN)/upd-zoo reproduce $* -o $(OUT)/reproduced

clean:  ## remove everything that was made here, but an OUT of your own
	@rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
