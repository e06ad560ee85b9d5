# gr00t_rl without Isaac Sim: Python, Isaac Lab's packages, Newton, torch. Build from the root of the repository:
#   docker build -f docker/Dockerfile.lean -t gr00t-rl-lean .
ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm
FROM ${PYTHON_IMAGE}

# For agent.actor.compile: torch.compile writes C++. The wheels bring all other libraries that a headless run loads.
# Debian keeps only the newest version of a package, so that a pin would soon break the build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

# Folders that a run writes to, made here so that new volumes mounted on them belong to the user too.
RUN useradd --uid 1000 --create-home gr00t \
    && mkdir -p /workspace/gr00t_rl/logs /var/cache/gr00t_rl \
    && chown -R 1000:1000 /workspace/gr00t_rl /var/cache/gr00t_rl

ENV VIRTUAL_ENV=/opt/gr00t_rl \
    PATH=/opt/gr00t_rl/bin:${PATH} \
    UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.9

# What the install reads comes first: its layer, nearly all of the image, stays when only the sources change.
WORKDIR /workspace/gr00t_rl
COPY --chown=1000:1000 constraints.txt ./
COPY --chown=1000:1000 exts/gr00t_rl/pyproject.toml exts/gr00t_rl/setup.py exts/gr00t_rl/
COPY --chown=1000:1000 exts/gr00t_rl/config exts/gr00t_rl/config
COPY --chown=1000:1000 exts/gr00t_rl/gr00t_rl/__init__.py exts/gr00t_rl/gr00t_rl/

# The registry's own torch is built for CUDA 13. Another build, from torch's registry: --build-arg TORCH=cpu
ARG TORCH
RUN --mount=type=cache,target=/var/cache/uv \
    uv venv "${VIRTUAL_ENV}" \
    && uv pip install ${TORCH:+--torch-backend "${TORCH}"} -c constraints.txt \
        -e 'exts/gr00t_rl[isaaclab,data,wandb,report]'

COPY --chown=1000:1000 . .

ENV GIT_PYTHON_REFRESH=quiet \
    WARP_CACHE_PATH=/var/cache/gr00t_rl/warp \
    HF_HOME=/var/cache/gr00t_rl/huggingface \
    TRITON_CACHE_DIR=/var/cache/gr00t_rl/triton \
    TORCHINDUCTOR_CACHE_DIR=/var/cache/gr00t_rl/inductor \
    CUDA_CACHE_PATH=/var/cache/gr00t_rl/cuda \
    MPLCONFIGDIR=/var/cache/gr00t_rl/matplotlib \
    WANDB_DIR=/workspace/gr00t_rl/logs \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

USER 1000:1000
CMD ["gr00t-rl", "doctor"]
