#!/bin/sh
# Builds the engines of this folder on a H200 with TensorRT 10.16.1.
# An engine built by one TensorRT or for one GPU does not run on another.
set -eu
cd "$(dirname "$0")"
sha256sum -c SHA256SUMS
PATH="$PATH:/usr/src/tensorrt/bin" # where JetPack puts trtexec
if ! command -v trtexec >/dev/null; then
    echo "build.sh: no trtexec on PATH; it comes with TensorRT" >&2
    exit 1
fi
mkdir -p 1
trap 'rm -f 1/*.partial' EXIT
trtexec --onnx=source/fp16.onnx \
    --stronglyTyped \
    --skipInference \
    --minShapes=input_face_images:1x1x80x80 \
    --optShapes=input_face_images:8x1x80x80 \
    --maxShapes=input_face_images:32x1x80x80 \
    --saveEngine=1/fp16.partial
mv 1/fp16.partial 1/fp16.engine
trtexec --onnx=source/fp32.onnx \
    --int8 \
    --fp16 \
    --calib=source/int8.cache \
    --skipInference \
    --minShapes=input_face_images:1x1x80x80 \
    --optShapes=input_face_images:8x1x80x80 \
    --maxShapes=input_face_images:32x1x80x80 \
    --saveEngine=1/int8.partial
mv 1/int8.partial 1/int8.engine
echo "built 1/fp16.engine 1/int8.engine"
