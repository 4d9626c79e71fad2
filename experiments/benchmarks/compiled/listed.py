"""The committed list of cells: at most 40, compiled in under 30 minutes on two cores."""

LIST = (
    # TPU v5e, 4 and 8 chips: what the choice of rows, width, optimizer and dtype does.
    "v5e:2x2,shared_bottom,rows=1e6",
    "v5e:2x2,shared_bottom,rows=1e7",
    "v5e:2x2,shared_bottom,rows=1e7,sgd",
    "v5e:2x2,shared_bottom,rows=1e7,bfloat16",
    "v5e:2x2,shared_bottom,rows=1e7,E=16",
    "v5e:2x2,shared_bottom,score,rows=1e7",
    "v5e:2x2,shared_bottom,create,rows=1e7",
    "v5e:2x2,dtn,rows=1e7",
    "v5e:2x4,shared_bottom,rows=1e6,pmap",
    "v5e:2x4,released,rows=1e7",
    "v5e:2x4,released,score,rows=1e7",
    # The same model and rows on 8 to 1024 devices.
    "v5p:2x2x2,shared_bottom,rows=8e8",
    "v5p:4x4x4,shared_bottom,rows=8e8",
    "v5p:4x8x8,shared_bottom,rows=8e8",
    "v5p:8x8x16,shared_bottom,rows=8e8",
    "h100:8,shared_bottom,rows=5e8",
    "h100:64,shared_bottom,rows=5e8",
    "h100:256,shared_bottom,rows=5e8",
    "h100:1024,shared_bottom,rows=5e8",
    # A billion rows on 64 and 256.
    "v5p:4x4x4,dtn,rows=1e9",
    "v5p:4x8x8,dtn,rows=1e9",
    "v6e:8x8,dtn,rows=1e9",
    "v6e:16x16,dtn,rows=1e9",
    "h100:64,dtn,rows=1e9",
    "h100:256,dtn,rows=1e9",
    "v5e:16x16,dtn,rows=1e9",
    "v5e:16x16,shared_bottom,rows=1e9,E=16",
    "v5e:8x8,shared_bottom,rows=1e9,adagrad",
    "v5p:4x4x4,shared_bottom,rows=1e9,adagrad,bfloat16",
    "h100:64,shared_bottom,rows=1e9,sgd",
    # Other pods and GPUs.
    "v5e:8x8,dtn,rows=1e8",
    "h100:4,dtn,rows=1e6",
    "h100:4,shared_bottom,score,rows=1e7",
    "h100:8,dtn,rows=1e7,E=16",
    "h100:8,shared_bottom,rows=1e7,bfloat16",
    "h100:64,released,rows=1e8",
    # A device's own ids alone, without the exchange.
    "v5e:8x8,update,rows=1e9",
    "v5e:8x8,update,rows=1e9,adagrad",
    "v5p:4x4x4,update,rows=1e9",
    "h100:64,update,rows=1e9",
)
QUICK = ("h100:4,shared_bottom,rows=1e6,E=16,each=64",)
