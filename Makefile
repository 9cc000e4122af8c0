# `make demo` and `make test` first install everything into .venv; a second run installs nothing.

PYTHON ?= python3
VENV := .venv
JOBS ?= 2
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
EXTRAS := dev,analysis,app,lmdb,metrics,tb,timm

# A loader worker and two threads share two cores: a waiting thread must not keep a core busy.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help install demo test quick lint bench soak mutate

help:
	@echo "make demo     restore photographs with uir-small, fine-tune it, measure again (under 4 minutes on 2 cores)"
	@echo "make test     run the tests, in JOBS=2 processes"
	@echo "make quick    run the tests that are not marked thorough or slow (under a minute on 2 cores)"
	@echo "make lint     ruff: rules and formatting"
	@echo "make bench    run the scripts in benchmarks/"
	@echo "make soak     kill runs, damage files, train for 20 minutes: the table of docs/trust.md (under an hour)"
	@echo "make mutate   change the package in 200 small ways and count how many the tests notice (hours)"
	@echo "make install  install everything into $(VENV) (the other targets do this first)"

install: $(STAMP)

demo: install
	$(PY) demo.py

test: install
	$(PY) -m pytest -n $(JOBS)

quick: install
	$(PY) -m pytest -n $(JOBS) -m "not thorough and not slow" --durations=5

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

bench: install
	@any_script=; for script in benchmarks/[a-z]*.py; do \
	    [ -e "$$script" ] || continue; any_script=1; echo "== $$script"; $(PY) "$$script" || exit 1; \
	done; [ -n "$$any_script" ] || echo "benchmarks/ contains no script"

soak: install
	PYTHONPATH=tests $(PY) -m soak.run --write

mutate: install
	$(PIP) install -c constraints.txt -e ".[mutation]" --no-build-isolation
	PYTHONPATH=tests $(PY) -m mutation.mutate --jobs $(JOBS)

# torch and torchvision are installed first and together, so that their versions match. basicsr is installed last and without build
# isolation, because its build would otherwise download a second torch.
$(STAMP): setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "there is no '$(PYTHON)': install Python 3.10 to 3.13, or name one: make PYTHON=python3.12"; exit 1; }
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "cannot create $(VENV); on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PY) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' || { \
	    echo "uir needs Python 3.10 to 3.13, $(VENV) has $$($(PY) --version): remove $(VENV) and name another: make PYTHON=python3.12"; exit 1; }
	$(PIP) install -c constraints.txt torch==2.13.0 torchvision==0.28.0
	$(PIP) install -c constraints.txt numpy cython setuptools wheel
	$(PIP) install -c constraints.txt --no-build-isolation -e ".[$(EXTRAS)]"
	@if $(PY) -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then \
	    set -x; $(PIP) install -c constraints.txt --no-build-isolation basicsr==1.4.2; \
	else echo "basicsr 1.4.2 cannot be built on Python 3.13: basicsr's own classes are not available"; fi
	@$(PY) -c 'import cv2' || { echo "OpenCV does not load; on Debian and Ubuntu: apt-get install libgl1 libglib2.0-0"; exit 1; }
	@command -v "$${CXX:-g++}" >/dev/null || command -v clang++ >/dev/null || \
	    echo "WARNING: there is no C++ compiler, which torch.compile needs (a test of it will fail); on Debian and Ubuntu: apt-get install g++"
	@$(PY) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || \
	    echo "WARNING: there is no Python.h, which torch.compile needs (a test of it will fail); on Debian and Ubuntu: apt-get install python3-dev"
	@touch $(STAMP)
