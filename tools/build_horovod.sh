#!/usr/bin/env bash
# Builds Horovod for the PyTorch and the TensorFlow of a Python environment, and installs it there.
#
#   tools/build_horovod.sh PYTHON
#
# The wheel is built once for each set of versions (about five minutes on two cores) and kept in
# $HARNESS_DATA_DIR/wheels, or else ~/.cache/detection-harness/wheels. Gloo carries its messages: CPU ranks alone.
# An interrupted build leaves nothing that a later one would take for finished.
set -euo pipefail

HOROVOD=0.28.1
SHA256=92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0
BUILD=1 # changes with the edits below

python=$(realpath --no-symlinks "${1:?usage: tools/build_horovod.sh PYTHON}")
fail() { echo "build_horovod: $1" >&2; exit 1; }

versions=$("$python" - 2> /dev/null <<'EOF'
import sys
from importlib.metadata import version
print("-".join([*(f"{name}{version(name)}" for name in ("torch", "tensorflow")), sys.implementation.cache_tag]))
EOF
) || fail "torch and tensorflow must be installed first; \`make install\` does it"
store=${HARNESS_DATA_DIR:-$HOME/.cache/detection-harness}/wheels/horovod$HOROVOD-$versions-build$BUILD

install_wheel() {
    local wheels=("$store"/horovod-*.whl)
    "$python" -m pip install --disable-pip-version-check --quiet --force-reinstall --no-deps "${wheels[0]}"
    "$python" -m pip install --disable-pip-version-check --quiet "${wheels[0]}" # what it needs at run time
}

if [ -d "$store" ]; then
    install_wheel
    exit
fi

missing=()
for tool in g++ make; do command -v "$tool" > /dev/null || missing+=("$tool"); done
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null \
        || fail "building Horovod needs ${missing[*]}; install it (Debian: apt-get install ${missing[*]}) and try again"
    apt-get install --yes --quiet "${missing[@]}" > /dev/null || { apt-get update --quiet > /dev/null \
        && apt-get install --yes --quiet "${missing[@]}" > /dev/null; }
fi

mkdir -p "$(dirname "$store")"
work=$(mktemp --directory "$(dirname "$store")/.building-XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "building Horovod $HOROVOD for $versions: about five minutes, once"

# What the build itself needs stands in front of the environment and changes nothing in it: Horovod's setup.py is older
# than setuptools 81, which took away what it relies on.
tools=('setuptools<81' wheel packaging cffi)
command -v cmake > /dev/null || tools+=(cmake)
"$python" -m pip install --disable-pip-version-check --quiet --target "$work/tools" "${tools[@]}"
export PYTHONPATH=$work/tools PATH=$work/tools/bin:$PATH

"$python" -m pip download --disable-pip-version-check --quiet --no-deps --no-binary :all: --no-build-isolation \
    --dest "$work" "horovod==$HOROVOD"
echo "$SHA256  $work/horovod-$HOROVOD.tar.gz" | sha256sum --check --quiet
tar --extract --gzip --file "$work/horovod-$HOROVOD.tar.gz" --directory "$work"
cd "$work/horovod-$HOROVOD"

# edit FILE OLD NEW: replace a text that must stand there exactly once; the lines around each say what for.
edit() {
    "$python" - "$@" <<'EOF'
import sys
from pathlib import Path
path, old, new = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
text = path.read_text()
if text.count(old) != 1:
    sys.exit(f"build_horovod: {old!r} stands {text.count(old)} times in {path}; it would be once in Horovod's source")
path.write_text(text.replace(old, new))
EOF
}
# The headers of TensorFlow and PyTorch are written in newer C++ than Horovod asks its compiler for.
edit CMakeLists.txt 'set(CMAKE_CXX_STANDARD 14)' 'set(CMAKE_CXX_STANDARD 17)'
edit horovod/torch/CMakeLists.txt 'set(CMAKE_CXX_STANDARD 14)' 'set(CMAKE_CXX_STANDARD 20)'
# With everything in C++17, the one Gloo serves both frameworks; the second copy for TensorFlow is not built.
edit horovod/tensorflow/CMakeLists.txt 'set(Tensorflow_CXX17 TRUE)' 'set(Tensorflow_CXX17 FALSE)'
# CMake 4 refuses projects that were written for a CMake older than 3.5.
edit third_party/gloo/CMakeLists.txt 'VERSION 2.8.12' 'VERSION 3.5'
# Its all-reduce inside XLA clusters exists on GPUs alone and uses interfaces that TensorFlow has dropped.
edit horovod/tensorflow/xla_mpi_ops.cc $'\n#if TENSORFLOW_VERSION >= 2006000000\n' $'\n#if TENSORFLOW_VERSION >= 2006000000 && HAVE_GPU\n'
# A PyTorch that was made for CUDA must not pull CUDA into a build that asks for none.
edit cmake/Modules/FindPytorch.cmake 'string(TOUPPER "${Pytorch_CUDA}" Pytorch_CUDA)' 'set(Pytorch_CUDA ${HAVE_CUDA})'
# Without debugging symbols TensorFlow's library has 2 MB instead of 51.
edit setup.py "'RelWithDebInfo'" "'Release'"

export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_GLOO=1
export HOROVOD_WITHOUT_MPI=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_CPU_OPERATIONS=GLOO
export MAKEFLAGS=-j$(nproc) CUDA_VISIBLE_DEVICES='' TF_CPP_MIN_LOG_LEVEL=3
"$python" -m pip wheel --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir "$work/wheel" . \
    > "$work/log" 2>&1 || { tail -40 "$work/log" >&2; fail "the build failed; the lines above are its last"; }

unset PYTHONPATH
cd / # the source tree here would be imported before what is installed
mv --no-target-directory "$work/wheel" "$store" || [ -d "$store" ] # another build was quicker
install_wheel
for framework in torch tensorflow; do
    "$python" -c "import horovod.$framework as horovod; assert horovod.gloo_built()" 2> "$work/log" \
        || { tail -20 "$work/log" >&2; rm -rf "$store"; fail "horovod.$framework cannot be loaded; see above"; }
done
