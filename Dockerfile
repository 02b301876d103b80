# eosflow with all that it needs, on the CPU:
#   docker build -t eosflow .
#   docker run --rm -v "$PWD/results:/eosflow/results" eosflow make demo
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends libcairo2 make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /eosflow
COPY pyproject.toml README.md LICENSE Makefile ./
COPY envs envs
COPY eosflow eosflow

# torch first and for the CPU alone, which is a tenth of the size; the lock takes it as it is.
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir torch==2.13.0 \
        --index-url https://download.pytorch.org/whl/cpu \
    && make .venv/runtime

COPY . .
RUN touch .venv/runtime
ENV PATH="/eosflow/.venv/bin:$PATH" OMP_NUM_THREADS=1
CMD ["make", "demo"]
