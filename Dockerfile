# eosflow with all that it needs, on the CPU, as an unprivileged user:
#   docker build -t eosflow .
#   mkdir -p results && docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/results:/eosflow/results" eosflow
# The base image is pinned by its tag alone, which later moves to newer builds. To pin its bytes:
#   docker pull python:3.11-slim-bookworm
#   docker build -t eosflow --build-arg BASE="$(docker image inspect \
#       --format '{{index .RepoDigests 0}}' python:3.11-slim-bookworm)" .
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

RUN apt-get update \
    && apt-get install --yes --no-install-recommends libcairo2 make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 eosflow \
    && install --directory --owner eosflow --group eosflow /eosflow

USER eosflow
WORKDIR /eosflow
COPY --chown=eosflow pyproject.toml README.md LICENSE Makefile ./
COPY --chown=eosflow envs envs
COPY --chown=eosflow eosflow eosflow

# torch for the CPU is a tenth of the size; make takes it as it is, and checks all else by hash.
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir torch==2.13.0 \
        --index-url https://download.pytorch.org/whl/cpu \
    && make .venv/runtime

COPY --chown=eosflow . .
# Whichever user the container is started as may write to these.
RUN touch .venv/runtime && mkdir -p results .snakemake && chmod a+rwx results .snakemake
ENV PATH="/eosflow/.venv/bin:$PATH" OMP_NUM_THREADS=1 HOME=/tmp
CMD ["make", "demo"]
