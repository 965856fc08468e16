#!/usr/bin/env bash
# Train the pocket weights of all three worlds, one after the other; killed and started again, it goes on where it was.
#   tools/pocket/train_all.sh VAE_MINUTES DIFFUSION_MINUTES SEGMENTER_MINUTES BACKBONE_STEPS ENCODER_MINUTES
# Logs: build/pocket/*.log. Nothing is installed: look at the figures first, then run install.py.
# From the environment: START=folder of weights to go on from ("" = from nothing), COUNT=pictures in the pool,
# CHIMERAS=pictures for the backbone, THREADS, BUILD, PYTHON, and BACKBONE="--length-weight bird=0.3 ..." (train_backbone.py).
set -euo pipefail
cd "$(dirname "$0")/../.."
vae=${1:-13} diffusion=${2:-60} segmenter=${3:-60} backbone=${4:-520} encoder=${5:-40}
build=${BUILD:-build/pocket} python=${PYTHON:-.venv/bin/python} threads=${THREADS:-2}
start=${START-src/ddb/pocket/weights}
read -ra backbone_options <<< "${BACKBONE:---length-weight bird=0.35 animal=2 hair=0.3 --colour-weight hair=0.3}"
mkdir -p "$build"
export OMP_NUM_THREADS=$threads

run() { # NAME SCRIPT ARGUMENTS...: into NAME.log
    echo "$(date +%H:%M) $1"
    "$python" "tools/pocket/$2" "${@:3}" >> "$build/$1.log" 2>&1 || { tail -n 5 "$build/$1.log"; exit 1; }
}
from() { [ -z "$start" ] || echo "--start-from $start/$1"; } # a part's weights to go on from, if any

[ -e "$build/pool/rows.json" ] ||
    run pool pool.py --out "$build/pool" --count "${COUNT:-60000}" --workers "$threads"
[ -e "$build/chimeras/rows.json" ] ||
    run chimeras pool.py --out "$build/chimeras" --count "${CHIMERAS:-60000}" --seed 7 --chimeras-only --workers "$threads"
[ -e "$build/backbone/model.safetensors" ] ||
    run backbone train_backbone.py --pool "$build/chimeras" --out "$build/backbone" --steps "$backbone" \
        --threads "$threads" "${backbone_options[@]}"
run vae train_vae.py --pool "$build/pool" --out "$build/vae" --minutes "$vae" --threads "$threads" \
    $(from diffusion/vae) ${start:+--lr 8e-4}
run encode encode.py --pool "$build/pool" --vae "$build/vae" --out "$build/latents" --threads "$threads"
run diffusion train_diffusion.py --pool "$build/pool" --latents "$build/latents" --vae "$build/vae" \
    --out "$build/diffusion" --minutes "$diffusion" --threads "$threads" --batch 96 \
    --shares bird=0.15 animal=0.6 hair=0.25 $(from diffusion)
run segmenter train_segmenter.py --pool "$build/pool" --tokenizer "$build/diffusion/tokenizer" \
    --out "$build/segmenter" --minutes "$segmenter" --threads "$threads" \
    --shares bird=0.2 animal=0.55 hair=0.25 $(from segmenter)
run encoder train_encoder.py --pool "$build/pool" --tokenizer "$build/diffusion/tokenizer" \
    --out "$build/encoder-pictures" --minutes "$encoder" --threads "$threads" $(from encoder)
[ -e "$build/encoder/model.safetensors" ] ||
    run words train_words.py --pool "$build/pool" --start-from "$build/encoder-pictures" --out "$build/encoder"
for family in bird animal hair; do
    [ -e "$build/oracles/$family/oracle.safetensors" ] ||
        run "oracle-$family" oracle.py --family "$family" --out "$build/oracles/$family"
done
run sheets sheets.py --diffusion "$build/diffusion" --segmenter "$build/segmenter" --out "$build/sheets"
"$python" tools/pocket/check.py --oracles "$build/oracles" --segmenter "$build/segmenter" | tee "$build/check.log"
