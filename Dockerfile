# The Python that the tests run on. Where images have to be the same to the last byte, put the digest behind the tag,
# python:3.11.14-slim-bookworm@sha256:…, in both places at once: docker buildx imagetools inspect tells it.
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS requirements

WORKDIR /src
COPY pyproject.toml deploy/requirements.py ./
# Dagster's records in PostgreSQL. Where runs are spread over a Ray cluster: --build-arg EXTRAS="postgres ray".
ARG EXTRAS=postgres
# hadolint ignore=SC2086
RUN python requirements.py ${EXTRAS} > requirements.txt


FROM ${PYTHON} AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_INPUT=1
WORKDIR /src

# Dependencies change seldom, and not with our version: a layer of their own, of the versions of constraints.txt.
COPY --from=requirements /src/requirements.txt ./
COPY constraints.txt ./
RUN python -m venv --without-pip /opt/bess
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/bess install --only-binary :all: --constraint constraints.txt --requirement requirements.txt

COPY pyproject.toml README.md LICENSE ./
COPY bess_pipeline ./bess_pipeline
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/bess install --no-deps --constraint constraints.txt .


FROM ${PYTHON}

# What a process writes beside the deployment is what it can compute again: compiled kernels, lists of fonts.
ENV PATH=/opt/bess/bin:$PATH \
    TZ=UTC \
    PYTHONUNBUFFERED=1 \
    PYTHONFAULTHANDLER=1 \
    HOME=/var/cache/bess \
    NUMBA_CACHE_DIR=/var/cache/bess/numba \
    MPLCONFIGDIR=/var/cache/bess/matplotlib \
    MPLBACKEND=Agg \
    BESS_HOME=/data \
    DAGSTER_HOME=/data/dagster_home \
    BESS_LOG_FORMAT=json

RUN groupadd --gid 10001 bess \
    && useradd --uid 10001 --gid bess --no-create-home --home-dir /var/cache/bess --shell /usr/sbin/nologin bess \
    && install --directory --owner=bess --group=bess --mode=0750 /data /var/cache/bess

COPY --from=build /opt/bess /opt/bess
COPY deploy/workspace.yaml /etc/bess/workspace.yaml

USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/var/cache/bess"]

# One image, several roles: docker-compose.yml says which command and which health check each has.
# Without a command it says how the deployment in /data is.
HEALTHCHECK NONE
CMD ["bess", "status"]
