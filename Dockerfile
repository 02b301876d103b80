# eosflow with all that it needs, on the CPU, as an unprivileged user:
#   docker build -t eosflow .
#   mkdir -p results && docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/results:/eosflow/results" eosflow
# The base image is Python 3.11.16 on Debian bookworm, by the digest of its index for all platforms. To take a newer one:
#   docker buildx imagetools inspect python:3.11-slim-bookworm
FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

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
