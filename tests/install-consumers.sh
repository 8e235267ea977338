#!/bin/sh
# Installs each reader that `wdstools doctor` asks, and each writer whose shards the tests adopt, in an environment of its
# own: tests/install-consumers.sh DIR [NAME...]. They need 5 GB in all. What is there already is kept.
# torch is pinned first: its CPU build is enough. timm and open_clip import torchvision, of which no CPU build is needed:
# doctor declares the operators that it looks up. open_clip trains with webdataset up to 0.2.86 (its requirements-training.txt).
set -eu
dir=$1
shift
[ $# -gt 0 ] || set -- webdataset huggingface open_clip timm energon dali webshart croissant polars img2dataset
python=${PYTHON:-python3}
torch=torch==2.13.0

install() { # NAME OPTION REQUIREMENTS
    "$dir/$1/bin/python" -m pip install --quiet --disable-pip-version-check ${2:+$2} $3
}

for name in "$@"; do
    [ -e "$dir/$name/.ready" ] && continue
    rm -rf "${dir:?}/$name"
    if [ "$name" = timm ] && [ -e "$dir/open_clip/.ready" ]; then
        ln -s open_clip "$dir/timm"
        continue
    fi
    "$python" -m venv "$dir/$name"
    case $name in
    webdataset) install $name "" "webdataset==1.0.2" ;;
    huggingface) install $name "" "datasets==5.2.0 Pillow" ;;
    open_clip | timm)
        install $name "" "$torch numpy Pillow pandas webdataset==0.2.86 huggingface_hub safetensors pyyaml regex ftfy tqdm requests pyarrow"
        install $name --no-deps "timm==1.0.31 open_clip_torch==3.3.0 torchvision==0.28.0"
        ;;
    energon)
        install $name "" "$torch"
        install $name "" "$torch megatron-energon==7.4.1"
        ;;
    webshart) install $name "" "webshart==0.4.6" ;;
    dali) install $name "" "nvidia-dali-cuda130==2.4.0 numpy" ;;
    croissant) install $name "" "mlcroissant==1.1.1 Pillow" ;;
    polars) install $name "" "polars==2.1.0" ;;
    img2dataset) install $name "" "img2dataset==1.47.0" ;;
    *)
        echo "no such consumer: $name" >&2
        exit 2
        ;;
    esac
    touch "$dir/$name/.ready"
done
