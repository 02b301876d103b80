# make demo   the whole pipeline, small, in minutes; make demo MIRROR=FOLDER adds what FOLDER holds
# make test   all checks, with as many tests at a time as CORES
# make generate   the pages that are made of the code, and the keys of what is new
# make docs   the pages as a web site in site/, with all links between them checked
# make fuzz   harm small results folders for ten minutes: nothing may come out wrong (MINUTES=60)
# make bench  speed and memory against the targets, into results/benchmarks.csv, and the library against its peers,
#             into results/benchmarks-library.csv (Linux, 8 GiB, half an hour);
#             make bench LARGE=--large adds CIFAR-10 at N = 1562 and the peer's first steps, twenty minutes more
# make test-slurm   the demo on a SLURM cluster that it starts on this machine (needs root)
PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: bench demo docs fuzz generate test test-slurm
.DELETE_ON_ERROR:

demo: .venv/runtime
	$(BIN)/snakemake --cores $(CORES) --configfile config/demo.yaml --quiet host reason \
		$(if $(MIRROR),--config "mirror=$(MIRROR)")
	@echo "The results are in results/demo: open results/demo/report.html in a browser."

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -n $(CORES) --dist worksteal

test-slurm: .venv/test
	EOSFLOW_TEST_SLURM=1 $(BIN)/pytest tests/test_slurm.py

generate: .venv/runtime
	$(BIN)/python -m eosflow.workflow.generate

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The pages are in site: open site/index.html in a browser."

MINUTES ?= 10
fuzz: .venv/test
	PYTHONPATH=tests $(BIN)/python tests/fuzz.py $(MINUTES)

# The memory settings are those of the workflow's jobs, see rules/common.smk.
bench: .venv/test
	MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_MMAP_THRESHOLD_=100000000000 \
		$(BIN)/python benchmarks/bench.py $(LARGE)
	MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_MMAP_THRESHOLD_=100000000000 \
		$(BIN)/python benchmarks/library.py

# Made again only when the dependencies change. All that pip fetches is compared with its SHA-256 in
# envs/, but torch: its builds differ with the accelerator, and the one that pip finds is taken, or
# the one that is there. The build backend is that of lock.txt too.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := $(INSTALL) --no-deps --require-hashes -r

.venv/runtime: pyproject.toml envs/lock.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(LOCKED) envs/lock.txt
	$(INSTALL) torch==2.13.0
	$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

.venv/test: .venv/runtime envs/test.txt envs/peers.txt
	$(LOCKED) envs/test.txt
	$(LOCKED) envs/peers.txt
	touch $@

.venv/docs: .venv/runtime envs/docs.txt
	$(LOCKED) envs/docs.txt
	touch $@
