# Two commands matter: `make demo` and `make test`. Each sets up .venv first and is quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The name of the stamp holds what was asked for, so a change of pyproject.toml installs again and nothing else does.
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml tests/demo_backend/pyproject.toml | sha256sum | cut -c1-16)
HOROVOD := $(VENV)/.horovod-$(shell cat pyproject.toml tools/build_horovod.sh | sha256sum | cut -c1-16)
PYTEST := $(BIN)/python -m pytest

.PHONY: help install horovod demo test test-host test-torch test-tf test-end-to-end check format readme \
	accuracy bench gpu-check clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

install: $(HOROVOD)  ## Set up .venv: the harness, all backends, Horovod.

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Say PYTHON=python3.11 make ..."; exit 1; }
	@echo "setting up $(VENV): PyTorch, TensorFlow and the rest, about 8 GB, a few minutes the first time"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[torch,tf,fast-eval,dev]' --editable tests/demo_backend
	@rm -f $(VENV)/.installed-*
	@touch $@

horovod: $(HOROVOD)  ## Build Horovod for .venv (five minutes, once; the wheel is kept) and install it.

$(HOROVOD): $(STAMP)
	@tools/build_horovod.sh $(BIN)/python
	@rm -f $(VENV)/.horovod-*
	@touch $@

demo: $(HOROVOD)  ## Run the demo matrix on this machine and write its report (minutes).
	@$(BIN)/harness run matrices/demo.yaml

test: $(HOROVOD) check test-host test-torch test-tf test-end-to-end  ## Run everything that needs no GPU.

test-host: $(HOROVOD)  ## Test the host: seconds, no framework.
	@echo "testing the host"
	@$(PYTEST) tests --ignore tests/torch_impl --ignore tests/tf_impl --ignore tests/end_to_end --ignore tests/gpu

test-torch: $(HOROVOD)  ## Test the PyTorch backend in two processes of its own.
	@echo "testing the PyTorch backend"
	@$(PYTEST) tests/torch_impl -n 2 --dist loadfile

test-tf: $(HOROVOD)  ## Test the TensorFlow backends in two processes of their own.
	@echo "testing the TensorFlow backends"
	@$(PYTEST) tests/tf_impl -n 2 --dist loadfile

test-end-to-end: $(HOROVOD)  ## Run small matrices through the command line, kill them, resume them.
	@echo "testing end to end"
	@$(PYTEST) tests/end_to_end

check: $(STAMP)  ## Check format, lint, types, import rules and the README's generated tables.
	@echo "checking format, lint, types, import rules, generated tables"
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }
	@$(BIN)/harness report reports/demo --check README.md

format: $(STAMP)  ## Format the code.
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

readme: $(STAMP)  ## Rewrite the README's generated tables from reports/demo.
	@$(BIN)/harness report reports/demo --update README.md

accuracy: $(HOROVOD)  ## Train a small Mask R-CNN and an EfficientDet-Lite0 to a bar on generated data (minutes).
	@$(BIN)/python bench/accuracy.py

bench: $(HOROVOD)  ## Measure the harness itself and the backends beside their peers.
	@$(BIN)/python bench/run.py

gpu-check: $(HOROVOD)  ## Run everything that needs a GPU.
	@$(BIN)/harness doctor
	@HARNESS_REQUIRE_GPU=1 $(PYTEST) tests/gpu

clean:  ## Remove what was built; results and data stay.
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .lint-imports.log
