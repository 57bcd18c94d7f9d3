# A simulator: entrain-envs alone, so numpy, grpcio, protobuf and gymnasium, and never torch.
#
#   docker build --file docker/simulator.Dockerfile --tag entrain-simulator .
#
# MuJoCo's Gymnasium environments: --build-arg EXTRAS=mujoco. For a simulator of your own, build
# FROM this image and set another ENTRYPOINT.

ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
# Optional parts: mujoco, pettingzoo, or both as mujoco,pettingzoo.
ARG EXTRAS=
WORKDIR /source
RUN python -m venv /opt/entrain
COPY constraints.txt ./
COPY envs envs
# A pip.conf of your own (a mirror, its certificate, its password) is a build secret, so that
# no layer keeps it: --secret id=pip.conf,src=FILE
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/entrain/bin/pip install --no-cache-dir --constraint constraints.txt \
    "./envs${EXTRAS:+[${EXTRAS}]}" \
    && /opt/entrain/bin/python -c 'import entrain_envs.client' \
    && /opt/entrain/bin/pip uninstall --yes pip setuptools

FROM ${BASE}
LABEL org.opencontainers.image.title="entrain simulator" \
    org.opencontainers.image.description="An environment that an entrain trainer teaches." \
    org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 entrain \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp \
    --shell /usr/sbin/nologin entrain
COPY --from=build /opt/entrain /opt/entrain
ENV PATH=/opt/entrain/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
WORKDIR /tmp
STOPSIGNAL SIGTERM
# A simulator dials out and answers nobody: that it runs is its health.
HEALTHCHECK NONE
ENTRYPOINT ["entrain-env"]
CMD ["--help"]
