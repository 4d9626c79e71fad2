import polars as pl
import torch
from fuxictr.preprocess import FeatureProcessor, build_dataset
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import MultiTaskModel

log, day = pl.read_parquet("logs/*.parquet").sort("t"), pl.col("t").dt.day()
for name, rows in {"train": day < 9, "valid": day == 9, "test": day == 10}.items():
    log.filter(rows).drop("t").write_parquet(f"{name}.parquet")
ids = {"type": "categorical", "dtype": "str", "active": True, "min_categr_count": 5}
price = {"name": "price", "type": "numeric", "dtype": "float", "active": True}
fields = [{"name": ["user_id", "item_id", "device"], **ids}, price]
labels = [{"name": name, "dtype": "float"} for name in ("click", "order")]
made = FeatureProcessor(fields, labels, "shop", ".")
paths = build_dataset(made, "train.parquet", "valid.parquet", "test.parquet", data_format="parquet")
loaders = RankDataLoader(made.feature_map, "both", *paths, batch_size=512, data_format="parquet")


class MMoE(MultiTaskModel):  # its model zoo has one, which pip does not install
    def __init__(self, features, width=16, experts=4):
        tasks = ["binary_classification"] * 2
        super().__init__(features, "MMoE", tasks, 2, metrics=["AUC"], model_root=".", verbose=0)
        self.embedding, n = FeatureEmbedding(features, width), width * features.num_fields
        self.experts = torch.nn.ModuleList(MLP_Block(n, [64, 64]) for _ in range(experts))
        self.gates = torch.nn.ModuleList(MLP_Block(n, output_dim=experts) for _ in range(2))
        self.towers = torch.nn.ModuleList(MLP_Block(64, [64], output_dim=1) for _ in range(2))
        self.compile("adam", "binary_crossentropy", 1e-3)
        self.reset_parameters()

    def forward(self, inputs):
        x = self.embedding(self.get_inputs(inputs), flatten_emb=True)
        outputs, found = torch.stack([expert(x) for expert in self.experts], 1), {}
        for name, gate, tower in zip(self.feature_map.labels, self.gates, self.towers):
            z = (gate(x).softmax(-1).unsqueeze(-1) * outputs).sum(1)
            found[f"{name}_pred"] = tower(z).sigmoid()
        return found


model = MMoE(made.feature_map)
model.fit(loaders[0], validation_data=loaders[1], epochs=20)
print(model.evaluate(loaders[2]))
