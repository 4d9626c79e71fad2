#!/bin/bash
# /mnt/shared is a file system that all hosts mount.
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command='
    cd dtn_jax && source .venv/bin/activate &&
    dtn-jax train \
        --config=configs/census_income.py:model.architecture=dtn \
        --workdir=/mnt/shared/runs/census_dtn \
        --data_dir=/mnt/shared/prepared \
        --config.data.batch_size=32768 \
        --config.parallel.processes=auto'
