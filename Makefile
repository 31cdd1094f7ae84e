# upd-zoo. `make` alone prints the menu. Every target makes .venv first if it is not there.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= out
READY  := $(VENV)/ready

# How long GNU's OpenMP threads spin while they wait. A training step of RD, on two cores: 0.2 s with its default and with
# this value; where another program keeps a core busy, 4.1 s and 0.8 s.
export GOMP_SPINCOUNT ?= 10000

# How the tests are run: on both cores, those of a file in one process, where they share what took long to make.
CORES  ?= 2
PYTEST := $(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-rest check format lint types arrows schemas bench tables pictures grid phantoms prepare pretrain train export publish score evaluate clean

help:  # print the menu
	@awk 'BEGIN {FS = ":.*## "} /^[a-z%-]+:.*## / {sub("%", "ITEM", $$1); printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@echo 'Setting up $(VENV): the first time some minutes, and up to 7 GB.' >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(BIN)/python -m ensurepip > /dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[train,prepare,figures,cluster,sign,dev,oracle]'
	@touch $@

demo: $(READY)  ## the whole chain on phantoms, from nothing to reports
	@$(BIN)/python scripts/demo.py $(OUT)/demo

prepare: $(READY)  ## fill stores: DOMAIN=phantom-t2 [ROOT=] [PROTOCOL=study]
	@$(BIN)/upd-zoo prepare $(DOMAIN) $(if $(ROOT),--root '$(ROOT)') $(if $(PROTOCOL),--protocol $(PROTOCOL))

pretrain: $(READY)  ## by CCD: MODEL=vae-phantom-t2-ccd [PROFILE=] [PROTOCOL=]
	@$(BIN)/upd-zoo pretrain $(MODEL) -o $(OUT)/pretraining/$(MODEL:%-ccd=%) $(if $(PROFILE),--profile $(PROFILE)) $(if $(PROTOCOL),--protocol $(PROTOCOL)) $(if $(WEIGHTS),--weights '$(WEIGHTS)')

train: WEIGHTS ?= $(if $(filter %-ccd,$(MODEL)),$(OUT)/pretraining/$(MODEL:%-ccd=%)/backbone)
train: $(READY)  ## MODEL=vae-phantom-t2 [PROFILE=] [PROTOCOL=] [WEIGHTS=]
	@$(BIN)/upd-zoo train $(MODEL) -o $(OUT)/runs/$(MODEL) $(if $(PROFILE),--profile $(PROFILE)) $(if $(PROTOCOL),--protocol $(PROTOCOL)) $(if $(WEIGHTS),--weights '$(WEIGHTS)')

export: $(READY)  ## make the artefact of a run again: MODEL=vae-phantom-t2
	@$(BIN)/upd-zoo export $(OUT)/runs/$(MODEL)

publish: $(READY)  ## publish an artefact: MODEL=vae-phantom-t2 HUB=folder
	@$(BIN)/upd-zoo publish $(OUT)/runs/$(MODEL)/artefact $(if $(HUB),--hub '$(HUB)')

score: $(READY)  ## score a folder: MODEL=vae-phantom-t2 INPUT=folder [HUB=]
	@$(BIN)/upd-zoo score '$(INPUT)' -m $(MODEL) -o $(OUT)/scores/$(MODEL) $(if $(HUB),--hub '$(HUB)')

evaluate: $(READY)  ## measure on a test set: MODEL=vae-phantom-t2 [HUB=]
	@$(BIN)/upd-zoo evaluate -m $(MODEL) -o $(OUT)/evaluation/$(MODEL) $(if $(HUB),--hub '$(HUB)')

grid: phantoms  ## every method on every phantom, side by side: [WEIGHTS=]
	@$(BIN)/upd-zoo grid $(OUT)/grid $(if $(WEIGHTS),--weights '$(WEIGHTS)')

# Models that are missing are made, one for each core; a run that was stopped, even killed, goes on with the same command.
# Exit code 4: nothing that it needs is prepared. Then phantoms stand in, and say so.
REPRODUCE = $(BIN)/upd-zoo reproduce $* -o $(OUT)/reproduced --train --jobs $(CORES) --threads 1 $(ARGS)
reproduce-%: $(READY)  ## table-i to table-vi, fig-1 to fig-4 [ARGS=]
	@$(REPRODUCE) || { code=$$?; test $$code -eq 4 || exit $$code; echo 'Phantoms stand in.' >&2; \
	$(MAKE) --no-print-directory phantoms && $(REPRODUCE); }

phantoms: $(READY)  ## fill the stores of a small population of every phantom
	@for domain in phantom-t1 phantom-t2; do $(BIN)/upd-zoo prepare $$domain --subjects 10 || exit; done
	@for domain in phantom-cxr phantom-fundus; do $(BIN)/upd-zoo prepare $$domain --subjects 160 || exit; done

test: $(READY)  ## what the README promises, in minutes; CORES=2
	@$(PYTEST) -m 'not slow and not fresh'

test-all: test test-rest  ## then the rest: oracles, whole grids, fresh installs

test-rest: $(READY)  # what make test leaves out
	@$(PYTEST) -m 'slow or fresh or hypothesis' --hypothesis-profile full

check: lint types arrows schemas test  ## lint, types, arrows, schemas, tests: before every change

format: $(READY)  ## put the code into its format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(READY)  # format and lint, changing nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(READY)  # static types
	@$(BIN)/mypy zoo harness scripts tests

arrows: $(READY)  # who may import whom
	@$(BIN)/lint-imports

schemas: $(READY)  # whether the published JSON Schemas are current
	@$(BIN)/python scripts/pages.py schemas --check

bench: $(READY)  ## speed, as ratios in one run
	@$(BIN)/python scripts/bench/bench.py

tables: $(READY)  ## write the tables of the cards
	@$(BIN)/python scripts/pages.py tables

pictures: $(READY)  ## draw the synthetic anomalies of the cards
	@$(BIN)/python scripts/pictures.py

clean:  ## remove what was made here, but an OUT of your own
	@rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
