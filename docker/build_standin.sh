#!/usr/bin/env bash
# Build an image where neither Docker nor a registry of images can be reached: on a local base that carries the real one's
# user and paths. As root on Debian, with buildah and debootstrap:
#   docker/build_standin.sh lean [empty folder to work in]       everything, and a training inside it; 40 GB of disk
#   docker/build_standin.sh isaac-lab [empty folder to work in]  our own steps only: the base has nothing of Isaac Lab
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository=$PWD
kind=${1:-}
case $kind in lean | isaac-lab) ;; *) echo "usage: $0 lean|isaac-lab [FOLDER]" >&2; exit 2 ;; esac
work=${2:-$(mktemp -d)}
mkdir -p "$work/tmp"
export TMPDIR=$work/tmp
buildah=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs)
in_chroot=(--isolation chroot --format docker --pull-never)

# Debian with a Python 3.12 of this machine and the libraries it was linked to, as root at $1.
python_base() {
    local libraries=ca-certificates,libssl3,libffi8,zlib1g,libbz2-1.0,liblzma5,libsqlite3-0,libreadline8,libuuid1
    debootstrap --variant=minbase --include="$libraries" bookworm "$1"
    local prefix
    prefix=$(python3.12 -c 'import sys; print(sys.base_prefix)')
    tar -C "$prefix" --exclude=site-packages --exclude=test -cf - bin lib include | tar -C "$1/usr/local" -xf -
    mkdir -p "$1/usr/local/lib/python3.12/site-packages"
    find "$1/usr/local/bin" -type f ! -name 'python3*' -delete
    ln -sf python3.12 "$1/usr/local/bin/python"
    chroot "$1" ldconfig
    chroot "$1" python -m ensurepip --default-pip >/dev/null
    # the certificates that this machine trusts
    cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$1/etc/ssl/certs/ca-certificates.crt"
}

base=$("${buildah[@]}" from scratch)
rootfs=$("${buildah[@]}" mount "$base") # written in place: `buildah add` would give every file to root
python_base "$rootfs"
if [ "$kind" = lean ]; then
    "${buildah[@]}" umount "$base"
    certificates=/etc/ssl/certs/ca-certificates.crt
    "${buildah[@]}" config --env PIP_CERT=$certificates --env SSL_CERT_FILE=$certificates "$base"
    "${buildah[@]}" commit --quiet --rm "$base" stand-in-python
    "${buildah[@]}" build "${in_chroot[@]}" --file docker/Dockerfile.lean --build-arg PYTHON_IMAGE=localhost/stand-in-python \
        --tag gr00t-rl-lean "$repository"
    container=$("${buildah[@]}" from --pull-never gr00t-rl-lean)
    run=("${buildah[@]}" run --isolation chroot "$container" --)
    # as Docker does with a new volume: empty, and owned as the image says
    "${run[@]}" sh -c 'id; touch /tmp/before; ls -ld . logs "$WARP_CACHE_PATH" 2>/dev/null; du -sh /opt /usr 2>/dev/null'
    "${run[@]}" gr00t-rl doctor
    "${run[@]}" gr00t-rl train --task Gr00t-Push-Cube-Franka --device cpu --num_envs 4 --max_iterations 1 \
        agent.num_steps_per_env=16
    "${run[@]}" gr00t-rl evaluate --task Gr00t-Push-Cube-Franka --checkpoint latest --num_envs 4 --num_episodes 4 \
        env.episode_length_s=1
    echo "written outside the volumes, besides Python's own caches:"
    "${run[@]}" sh -c 'find /home /tmp /workspace -newer /tmp/before -type f ! -path "*/__pycache__/*" \
        ! -path "/workspace/gr00t_rl/logs/*"'
    inspected=gr00t-rl-lean
else
    image=nvcr.io/nvidia/isaac-lab:3.0.0-kitless
    chroot "$rootfs" python -m pip install --quiet "setuptools<82"
    mkdir -p "$rootfs/workspace/isaaclab"
    printf '#!/bin/sh\n[ "$1" = -p ] && shift\nexec python "$@"\n' > "$rootfs/workspace/isaaclab/isaaclab.sh"
    chmod +x "$rootfs/workspace/isaaclab/isaaclab.sh"
    chroot "$rootfs" useradd --uid 1000 --create-home isaaclab
    chown -R 1000:1000 "$rootfs/workspace" "$rootfs/usr/local"
    "${buildah[@]}" umount "$base"
    "${buildah[@]}" config --env ISAACLAB_PATH=/workspace/isaaclab --user isaaclab --entrypoint '["/bin/false"]' "$base"
    "${buildah[@]}" commit --quiet --rm "$base" "$image"
    "${buildah[@]}" build "${in_chroot[@]}" --file docker/Dockerfile \
        --build-arg PIP_ARGS="--no-deps --no-build-isolation" --tag gr00t-rl "$repository"
    container=$("${buildah[@]}" from --pull-never gr00t-rl)
    "${buildah[@]}" run --isolation chroot "$container" -- /workspace/isaaclab/isaaclab.sh -p -c '
import importlib.metadata as m, os
print("user", os.getuid(), "in", os.getcwd())
print("gr00t_rl", m.version("gr00t_rl"), [e.value for e in m.entry_points(group="isaaclab.tasks")])
for folder in ("logs", os.environ["WARP_CACHE_PATH"], os.environ["HF_HOME"]):
    os.makedirs(os.path.join(folder, "probe"))
print("logs and caches are writable")'
    inspected=gr00t-rl
fi
"${buildah[@]}" inspect --type image \
    --format 'entrypoint {{.OCIv1.Config.Entrypoint}} command {{.OCIv1.Config.Cmd}} user {{.OCIv1.Config.User}}' $inspected
