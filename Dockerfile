# syntax=docker/dockerfile:1.7
# An image for the nodes of a Ray cluster, and for veedor itself:
#   docker build -t registry.example/veedor:0.1.0 .                            # for machines with NVIDIA GPUs
#   docker build -t registry.example/veedor:0.1.0-cpu --build-arg FLAVOR=cpu . # a sixth of the size
ARG FLAVOR=cuda
ARG PYTHON=python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

# PyTorch's wheels bring CUDA's libraries, so neither base has them; the machine's driver is put in by the runtime.
FROM ${PYTHON} AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM ${PYTHON} AS cpu
# Wheels without CUDA call themselves X+cpu there, which is later than pip's own index's X and as well constrained.
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu

# hadolint ignore=DL3006
FROM ${FLAVOR} AS build
WORKDIR /src
RUN python -m venv /opt/veedor
ENV PATH=/opt/veedor/bin:$PATH
# The versions that the tests ran with, and no package that runs code to be built.
COPY constraints.txt pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
    && pip install --no-cache-dir --only-binary :all: --constraint constraints.txt torch torchvision \
    && pip install --no-cache-dir --only-binary :all: --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY cvcore cvcore
COPY jobs jobs
COPY cluster cluster
RUN pip install --no-cache-dir --no-deps . && pip check && python -m compileall -q /opt/veedor

# hadolint ignore=DL3006
FROM ${FLAVOR} AS runtime
# KubeRay's probes call wget. Debian keeps no old versions to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 veedor \
    && useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash veedor
COPY --from=build /opt/veedor /opt/veedor
ENV PATH=/opt/veedor/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0
LABEL org.opencontainers.image.title=veedor \
      org.opencontainers.image.licenses=Apache-2.0
WORKDIR /home/veedor
# By number: Kubernetes cannot tell from a name whether it is root.
USER 1000:1000
ENTRYPOINT ["veedor"]
CMD ["--help"]
