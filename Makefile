# `make help` lists the targets. They share one virtual environment, .venv, made when it is missing.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
READY := $(VENV)/.ready
BROWSER := $(VENV)/.browser
SITE := $(VENV)/.site
# Two at a time, one thread each: on two cores faster than one with two threads. conftest.py deals
# out notebooks whole and tests one by one: neither core waits for the other at the end.
PYTEST := OMP_NUM_THREADS=1 $(RUN) pytest -n 2 --dist loadscope --no-loadscope-reorder

# In a container one is often root, where Jupyter starts only if it is told that this is meant.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help ready course lab test test-slow test-mnist test-browser site offline lint publish clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

course: $(READY)  ## execute every notebook into runs/<timestamp>/ (offline: on the small digits)
	$(RUN) mnist_lab run

lab: $(READY)  ## open the first notebook in JupyterLab
	$(RUN) jupyterlab $(AS_ROOT) notebooks/00_start_here.ipynb

test: $(READY)  ## the library, the runner, and every notebook's outputs, on the small digits
	MNIST_LAB_SOURCE=digits $(PYTEST) -m "not slow"

test-slow: $(READY)  ## the tests that take longer than two seconds each
	MNIST_LAB_SOURCE=digits $(PYTEST) -m slow tests

test-mnist: $(READY)  ## every notebook's outputs, the writers and the trained networks, on real MNIST
	MNIST_LAB_SOURCE=mnist $(PYTEST) notebooks tests/test_data.py tests/test_pretrained.py \
		tests/course/test_javascript.py

test-browser: $(BROWSER)  ## every notebook in JupyterLab, in Chromium; how it looks: runs/browser/
	OMP_NUM_THREADS=1 $(RUN) pytest tests/browser

lint: $(READY)  ## ruff over the library, the tests and the notebooks
	$(RUN) ruff check .
	$(RUN) ruff format --check .

ready: $(READY)  ## install everything into .venv

site: $(SITE)  ## build the course's site, with slides of every notebook, into site/
	$(RUN) sphinx -q -W --keep-going -b html -d $(VENV)/doctrees docs site
	$(RUN) mnist_lab slides

offline: site  ## pack the course for machines without a network: wheels, digits, notebooks, site
	$(RUN) mnist_lab offline

publish: $(READY)  ## run the course on MNIST and take its outputs, costs and tables over
	$(RUN) mnist_lab run --dataset mnist
	$(RUN) mnist_lab publish

clean:  ## remove the environment (not your data, not your runs)
	rm -rf $(VENV)

# The marker is newer than what it was made from, so re-running does not reinstall.
$(READY): requirements.txt pyproject.toml
	$(PYTHON) mnist_lab/install.py $(VENV)
	@touch $@

# Playwright drives the browser; the browser itself is the system's: apt-get install chromium.
$(BROWSER): $(READY)
	$(PYTHON) mnist_lab/install.py $(VENV) browser site
	@touch $@

$(SITE): $(READY)
	$(PYTHON) mnist_lab/install.py $(VENV) site
	@touch $@
