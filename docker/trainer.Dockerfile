# The trainer: packages are installed in one stage, and only what runs is kept in the next.
#
#   docker build --file docker/trainer.Dockerfile --tag entrain-trainer .
#
# On an NVIDIA GPU: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130, then run with
# --gpus all and `device: cuda`. See docs/containers.md.

ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
# Where torch alone comes from: CPU wheels unless told otherwise. Empty takes pip's own setting.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Optional parts of the trainer: `export` writes policies as ONNX.
ARG EXTRAS=export
WORKDIR /source
RUN python -m venv /opt/entrain
COPY constraints.txt ./
# A pip.conf of your own (a mirror, its certificate, its password) is a build secret, so that
# no layer keeps it: --secret id=pip.conf,src=FILE
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/entrain/bin/pip install --no-cache-dir --constraint constraints.txt \
    ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} torch
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY envs envs
COPY trainer trainer
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/entrain/bin/pip install --no-cache-dir --constraint constraints.txt \
    ./envs ".${EXTRAS:+[${EXTRAS}]}"
# Nothing is compiled against torch, tested or installed from here on: 150 MB less.
RUN rm -rf /opt/entrain/lib/python3*/site-packages/torch/include \
    /opt/entrain/lib/python3*/site-packages/torch/test \
    && find /opt/entrain/lib/python3*/site-packages/torch/bin -type f \
    ! -name torch_shm_manager -delete \
    && /opt/entrain/bin/pip uninstall --yes pip setuptools \
    && /opt/entrain/bin/python -c 'import entrain.app.commands'

FROM ${BASE}
LABEL org.opencontainers.image.title="entrain trainer" \
    org.opencontainers.image.description="Simulators dial in, a policy learns." \
    org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 entrain \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp \
    --shell /usr/sbin/nologin entrain \
    && install --directory --owner 10001 --group 10001 /runs
COPY --from=build /opt/entrain /opt/entrain
COPY docker/healthcheck.py /opt/entrain/healthcheck.py
# Nothing is written outside /runs and /tmp, so the root file system may be read-only.
ENV PATH=/opt/entrain/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
WORKDIR /runs
VOLUME /runs
EXPOSE 50051
# The exec form: Python is process 1 and gets the signal itself. It saves, then exits with 0.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/opt/entrain/healthcheck.py"]
ENTRYPOINT ["entrain"]
CMD ["train", "/config/run.yaml", "--resume-or-start"]
