#!/bin/bash
#SBATCH --job-name=dtn
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00

cd "$SLURM_SUBMIT_DIR"
source .venv/bin/activate
for attempt in 0 1 2 3; do
    srun --kill-on-bad-exit=1 dtn-jax train \
        --config=configs/census_income.py:model.architecture=dtn \
        --workdir=/shared/runs/census_dtn \
        --data_dir=/shared/prepared \
        --config.data.batch_size=32768 \
        --config.parallel.processes=auto && exit 0
    status=$?
    [ "$status" -eq 2 ] && exit 2   # wrong input: a restart would not help
    echo "attempt $attempt ended with $status; restarting all from the last checkpoint"
done
exit 1
