# Two commands matter: `make demo` and `make test`. Each sets up .venv first and is quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The name of the stamp holds what was asked for, so a change of pyproject.toml installs again and nothing else does.
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml tests/demo_backend/pyproject.toml | sha256sum | cut -c1-16)
HOROVOD := $(VENV)/.horovod-$(shell cat pyproject.toml tools/build_horovod.sh | sha256sum | cut -c1-16)
KERNELS := $(VENV)/.kernels-$(shell cat pyproject.toml kernels/*/* harness/kernels/*.py backends/*/kernels/native/* 2>/dev/null | sha256sum | cut -c1-16)
PYTEST := $(BIN)/python -m pytest
PUBLISHED := $(patsubst %,reports/published/%.yaml,tf_maskrcnn pt_maskrcnn tf2_efficientdet)

.PHONY: help install horovod kernels check-kernels demo test test-host test-kernels test-torch test-tf test-end-to-end kills \
	check format readme generated audit accuracy bench gpu-check clean

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

kernels: $(KERNELS)  ## Build the native kernels for the CPU and for CUDA, so that no trial waits for that.

# Without a compiler the frameworks' own operations run: no reason to stop, and no stamp, so that the next time tries again.
$(KERNELS): $(HOROVOD)
	@echo "building the native kernels, a minute or two the first time"
	@rm -f $(VENV)/.kernels-*
	@if $(BIN)/harness doctor --build > .kernels.log; then touch $@; else \
		grep '^problem: kernels\|^problem: .*\.kernels' .kernels.log || cat .kernels.log; fi

check-kernels: $(KERNELS)  ## Hunt faults in the kernels: sanitizers, removed barriers, nvcc for every architecture (minutes).
	@echo "checking the kernels"
	@cd tests && ../$(BIN)/python -m kernel_checks

demo: $(KERNELS)  ## Run the demo matrix on this machine and write its report (minutes).
	@$(BIN)/harness run matrices/demo.yaml

test: $(KERNELS) check test-host test-kernels test-torch test-tf test-end-to-end  ## Run everything that needs no GPU.

test-host: $(KERNELS)  ## Test the host: seconds, no framework.
	@echo "testing the host"
	@$(PYTEST) tests -n 2 --dist loadfile --ignore tests/kernels --ignore tests/torch_impl --ignore tests/tf_impl \
		--ignore tests/end_to_end --ignore tests/gpu

test-kernels: $(KERNELS)  ## Test the native kernels without a framework, CUDA ones on an emulated device.
	@echo "testing the kernels"
	@$(PYTEST) tests/kernels -n 2 --dist loadfile

test-torch: $(KERNELS)  ## Test the PyTorch backend in two processes of its own.
	@echo "testing the PyTorch backend"
	@$(PYTEST) tests/torch_impl -n 2 --dist loadfile

test-tf: $(KERNELS)  ## Test the TensorFlow backends in two processes of their own.
	@echo "testing the TensorFlow backends"
	@$(PYTEST) tests/tf_impl -n 2 --dist loadfile

test-end-to-end: $(KERNELS)  ## Run small matrices through the command line, kill them, resume them.
	@echo "testing end to end"
	@$(PYTEST) tests/end_to_end

kills: $(KERNELS)  ## Kill -9 a matrix of 100 trials 200 times at random moments and look for what is lost (minutes).
	@HARNESS_KILLS=200 $(PYTEST) tests/end_to_end/test_kills.py -rP

check: $(STAMP)  ## Check format, lint, types, import rules, and the README's generated tables: as stored, and consistent.
	@echo "checking format, lint, types, import rules, generated tables"
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }
	@$(BIN)/harness report reports/demo --check README.md
	@found=$$($(BIN)/harness audit README.md) || { echo "$$found"; exit 1; }

format: $(STAMP)  ## Format the code.
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

readme: $(STAMP)  ## Rewrite the README's generated tables from reports/demo.
	@$(BIN)/harness report reports/demo --update README.md

# Findings are what this page is made of: the audit's exit code 1 is no failure.
generated: $(STAMP)  ## Rewrite what documents hold of the code: schemas, keys of a matrix, rules of comparing.
	@$(BIN)/python tools/generated.py

audit: $(STAMP)  ## Rewrite reports/audit/findings.md from the published figures.
	@$(BIN)/harness audit $(PUBLISHED) --format md --output reports/audit/findings.md || test $$? -eq 1

accuracy: $(KERNELS)  ## Train a small Mask R-CNN and an EfficientDet-Lite0 to a bar on generated data (minutes).
	@$(BIN)/python bench/accuracy.py

bench: $(KERNELS)  ## Measure the harness itself and the backends beside their peers.
	@$(BIN)/python bench/run.py

gpu-check: $(KERNELS)  ## Run everything that needs a GPU, the kernels' tests on it, and time the kernels there.
	@$(BIN)/harness doctor
	@HARNESS_REQUIRE_GPU=1 $(PYTEST) tests/gpu
	@HARNESS_TEST_DEVICE=cuda $(PYTEST) tests/kernels --ignore tests/kernels/test_sanitizers.py --ignore tests/kernels/test_building.py
	@$(BIN)/python bench/kernels.py --device cuda

clean:  ## Remove what was built; results and data stay.
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .lint-imports.log .kernels.log
