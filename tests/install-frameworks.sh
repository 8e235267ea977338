#!/bin/sh
# Installs each framework that the tests train with in an environment of its own:
# tests/install-frameworks.sh DIR [NAME...]. What is there already is kept.
# torch and what wdstools itself needs lie in one of them, which the others see. torch is pinned in every command, or the
# packages that need it bring another build of several gigabytes. Of torchvision no CPU build is needed: the tests declare
# the operators that it looks up.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
dir=$1
shift
[ $# -gt 0 ] || set -- torch lightning huggingface torchdata open_clip timm jax
python=${PYTHON:-python3}
torch=torch==2.13.0

install() { # NAME PIP-ARGUMENTS
    environment=$dir/$1
    shift
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

make() { # NAME
    rm -rf "${dir:?}/$1"
    "$python" -m venv "$dir/$1"
    if [ "$1" != torch ]; then
        packages='import sysconfig; print(sysconfig.get_path("purelib"))'
        "$dir/torch/bin/python" -c "$packages" > "$("$dir/$1/bin/python" -c "$packages")/torch.pth"
    fi
}

for name in torch "$@"; do
    [ -e "$dir/$name/.ready" ] && continue
    make "$name"
    case $name in
    torch) install torch "$here" "$torch" ;;
    lightning) install lightning "$torch" lightning==2.6.6 ;;
    huggingface) install huggingface "$torch" transformers==5.24.0 accelerate==1.15.0 ;;
    torchdata) install torchdata "$torch" torchdata==0.11.0 ;;
    open_clip)
        install open_clip "$torch" ftfy regex tqdm huggingface_hub safetensors pandas
        install open_clip --no-deps "$torch" timm==1.0.31 open_clip_torch==3.3.0 torchvision==0.28.0
        ;;
    timm)
        install timm "$torch" huggingface_hub safetensors PyYAML
        install timm --no-deps "$torch" timm==1.0.31 torchvision==0.28.0
        ;;
    jax) install jax "$torch" jax==0.10.2 ;;
    *)
        echo "no such framework: $name" >&2
        exit 2
        ;;
    esac
    touch "$dir/$name/.ready"
done
