#!/usr/bin/env bash
# Build the image where neither Docker nor NVIDIA's registry can be reached: on a local base that carries the real one's
# name, user and paths, and nothing of Isaac Lab. Proves our own steps only. As root on Debian, with buildah and debootstrap:
#   docker/build_standin.sh [empty folder to work in]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository=$PWD
work=${1:-$(mktemp -d)}
image=nvcr.io/nvidia/isaac-lab:3.0.0-kitless
buildah=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs)

# A Python 3.12 copied in, with the libraries it was linked to, setuptools to build with, and a stub of isaaclab.sh.
libraries=libssl3,libffi8,zlib1g,libbz2-1.0,liblzma5,libsqlite3-0,libreadline8,libuuid1
base=$("${buildah[@]}" from scratch)
rootfs=$("${buildah[@]}" mount "$base") # written in place: `buildah add` would give every file to root
debootstrap --variant=minbase --include="$libraries" bookworm "$rootfs"
mkdir -p "$rootfs/opt" "$rootfs/workspace/isaaclab"
cp -a "$(python3.12 -c 'import sys; print(sys.base_prefix)')" "$rootfs/opt/python"
python3.12 -m pip install --quiet --target "$rootfs/opt/python/lib/python3.12/site-packages" --upgrade "setuptools<82"
cat > "$rootfs/workspace/isaaclab/isaaclab.sh" <<'STUB'
#!/bin/sh
[ "$1" = -p ] && shift
LD_LIBRARY_PATH=/opt/python/lib exec /opt/python/bin/python3.12 "$@"
STUB
chmod +x "$rootfs/workspace/isaaclab/isaaclab.sh"
chroot "$rootfs" useradd --uid 1000 --create-home isaaclab
chown -R 1000:1000 "$rootfs/workspace" "$rootfs/opt/python"

"${buildah[@]}" umount "$base"
"${buildah[@]}" config --env ISAACLAB_PATH=/workspace/isaaclab --user isaaclab --entrypoint '["/bin/false"]' "$base"
"${buildah[@]}" commit --quiet "$base" "$image"

"${buildah[@]}" build --isolation chroot --format docker --pull-never --file docker/Dockerfile \
    --build-arg PIP_ARGS="--no-deps --no-build-isolation" --tag gr00t-rl "$repository"

container=$("${buildah[@]}" from --pull-never gr00t-rl)
"${buildah[@]}" run --isolation chroot "$container" -- /workspace/isaaclab/isaaclab.sh -p -c '
import importlib.metadata as m, os
print("user", os.getuid(), "in", os.getcwd())
print("gr00t_rl", m.version("gr00t_rl"), [e.value for e in m.entry_points(group="isaaclab.tasks")])
for folder in ("logs", os.environ["WARP_CACHE_PATH"], os.environ["HF_HOME"]):
    os.makedirs(os.path.join(folder, "probe"))
print("logs and caches are writable")'
"${buildah[@]}" inspect --type image --format 'entrypoint {{.OCIv1.Config.Entrypoint}} command {{.OCIv1.Config.Cmd}} user {{.OCIv1.Config.User}}' gr00t-rl
