import polars as pl
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator

IDS, LABELS = ["user_id", "item_id", "device"], ["click", "order"]
log = pl.read_parquet("logs/*.parquet").sort("t")
log = log.with_columns(pl.col(IDS).rank("dense") - 1, (pl.col("price") + 1).log())
test = log["t"].dt.day() == 10
valid = log["t"].dt.day() == 9


def part(rows):
    rows = log.filter(rows)
    return {c: rows[c].to_numpy() for c in [*IDS, "price"]}, rows[LABELS].to_numpy()


(x, y), (x_val, y_val), (x_test, y_test) = part(~(valid | test)), part(valid), part(test)
train_dl, valid_dl, test_dl = DataGenerator(x, y).generate_dataloader(
    x_val=x_val, y_val=y_val, x_test=x_test, y_test=y_test, batch_size=512
)
features = [SparseFeature(c, vocab_size=log[c].n_unique(), embed_dim=16) for c in IDS]
types, layers = ["classification"] * 2, {"dims": [64]}
model = MMOE([*features, DenseFeature("price")], types, 4, layers, [layers, layers])
trainer = MTLTrainer(model, types, n_epoch=20, earlystop_patience=2)
trainer.fit(train_dl, valid_dl)
print(dict(zip(LABELS, trainer.evaluate(trainer.model, test_dl))))  # AUC
