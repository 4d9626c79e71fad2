"""Every option, once: its default, unit and reason. A data set's config edits this one.

Options are *identity* (what is computed) or *runtime* (where and how it is shown); the latter
are named in `dtn_jax.config.RUNTIME` and may change between two calls on one workdir.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = ConfigDict()
    c.seed = 0  # initial weights, dropout, epoch order; never the split, which is the data set's

    c.replicas = ""  # runs in one program: '4' takes seeds seed, seed+1, …; or values of scalar
    # options, 'optim.learning_rate=1e-3,3e-4' (several with ';', as many values each)

    c.data = data = ConfigDict()
    data.dataset = "adult"  # a name in dtn_jax.datasets
    data.options = ""  # the builder's own options, 'rows=100000,seed=1'; '' takes its defaults
    data.train_share = 1.0  # of the train rows, a fixed part whatever the seed: for quick trials
    data.batch_size = 1024  # examples a step, over all devices
    data.eval_batch_size = 4096  # examples a scoring step; changes no result
    data.data_dir = ""  # prepared sets; '' means $DTN_DATA_DIR, else the user's cache folder
    data.manual_dir = ""  # raw files, a folder a data set; '' means $DTN_MANUAL_DIR
    data.placement = "auto"  # auto | device (resident, for sets that fit) | stream
    data.device_bytes = 4_000_000_000  # with auto, a set up to this size is placed on the device

    c.model = model = ConfigDict()
    model.architecture = "dtn"  # dtn | shared_bottom | single_task | mmoe | ple | esmm | aitm
    # | stem | adatt
    model.experts = "gdcn+masknet"  # of each group: mlp gdcn masknet hcnet dcnv2; 'mlp*4+gdcn'
    model.group_experts = ""  # other experts for some groups: 'shared=mlp*2,income=gdcn'
    model.embedding_dim = 16  # D
    model.expert_dim = 64  # H, the output width of every expert
    model.tower_hidden = (64,)  # widths of a task's tower before its one logit
    model.dropout = 0.0  # rate, on expert outputs and hidden layers of towers and MLP experts
    model.embedding_dropout = 0.0  # rate, on the flattened embeddings that the experts read
    model.normalisation = "none"  # of the flattened embeddings: none | batch | layer
    model.dtype = "float32"  # of the dense computation: float32 | bfloat16 | float64 (x64 only)
    model.upstream = ""  # another task graph, 'cart:click,order:click+cart'; '' keeps the schema's
    model.fusion = "paper"  # of dtn: paper (gates read the input) | released (experts' scores)
    model.dtn = ConfigDict()
    model.dtn.tsn = True  # scale an upstream group by the upstream probability
    model.dtn.shared_group = True  # the group owned by all tasks
    model.dtn.task_groups = True  # a group a task
    model.ple = ConfigDict()
    model.ple.levels = 2  # extraction levels
    model.aitm = ConfigDict()
    model.aitm.calibrator = 0.6  # weight of the loss where a task is likelier than its upstream
    model.stem = ConfigDict()
    model.stem.levels = 1
    model.adatt = ConfigDict()
    model.adatt.levels = 2  # fusion levels
    model.adatt.shared_group = True  # False is AdaTT-sp
    model.mlp = ConfigDict()
    model.mlp.hidden = (128,)  # hidden widths before the output layer of width H
    model.gdcn = ConfigDict()
    model.gdcn.layers = 2  # gated cross layers
    model.masknet = ConfigDict()
    model.masknet.kind = "parallel"  # parallel | serial
    model.masknet.blocks = 2  # mask blocks
    model.masknet.block_dim = 128  # output width of a block
    model.masknet.mask_hidden = 256  # width of the mask's hidden ("aggregation") layer
    model.masknet.hidden = (64,)  # hidden widths after the blocks, before the layer of width H
    model.hcnet = ConfigDict()
    model.hcnet.codebook_rows = 10_000  # codewords in a codebook
    model.hcnet.hashes = 2  # hash functions, all addressing the one codebook
    model.hcnet.shrinking = "none"  # none (all pairs feed the output layer) | sum (per field)
    model.hcnet.fields = ()  # names of the fields that form pairs; () takes every field of one slot
    model.hcnet.seed = 0  # of the hash functions
    model.dcnv2 = ConfigDict()
    model.dcnv2.layers = 2  # cross layers
    model.dcnv2.rank = 0  # rank of the cross matrices; 0 is full

    c.loss = loss = ConfigDict()
    loss.task_weights = ""  # 'click=1,order=0.5'; tasks not named have 1
    loss.positive_weights = ""  # w of positives in cross-entropy; scores have log w taken off
    loss.sample_weights = False  # weight examples by the schema's weight column

    c.optim = optim = ConfigDict()
    optim.learning_rate = 1e-3  # AdamW on dense parameters
    optim.weight_decay = 0.0  # decoupled, on dense matrices
    optim.b1 = 0.9
    optim.b2 = 0.999
    optim.eps = 1e-8
    optim.clip = 0.0  # global norm of the dense gradient; 0 is off
    optim.schedule = "constant"  # of both learning rates: constant | linear | cosine (to 0)
    optim.warmup_steps = 0  # linear from 0
    optim.tables = "adam"  # adam (lazy) | adagrad (row-wise) | sgd; dense: Adam on every row
    optim.table_learning_rate = 1e-3
    optim.table_l2 = 0.0  # L2 on the rows a step touches, added to their gradient
    optim.table_dtype = "float32"  # bfloat16 halves tables, not their slots; rounded at random
    optim.table_init = 0.01  # standard deviation of initial embeddings
    optim.codebook_init = 0.01  # standard deviation of initial codewords

    c.train = train = ConfigDict()
    train.epochs = 1
    train.max_steps = 0  # stop after this many steps; 0 leaves it to epochs
    train.eval_every = 0  # steps between validations; 0 is once an epoch
    train.checkpoint_every = 1000  # steps between checkpoints; each validation makes one too
    train.log_every = 0  # steps between lines of metrics.jsonl; 0 is 100, less in short runs
    train.accumulate = 1  # parts that a batch is stepped through in, to save memory; same numbers
    train.remat = False  # compute experts again in the backward pass: less memory on GPU and TPU
    train.patience = 0  # validations without a gain before stopping; 0 is never
    train.select = "mean"  # whose validation metric picks the state that is reported, and is what
    # early stopping watches: mean (over tasks), a task, or the mean of some: 'click+order'; of AUC
    # (R2 of a regression), or of the metrics named: 'click:logloss', 'mean:logloss'

    c.evaluate = evaluate = ConfigDict()
    evaluate.sample_weights = False  # weight examples in metrics too
    evaluate.ece_bins = 15  # equally filled bins of the expected calibration error

    c.analysis = analysis = ConfigDict()
    analysis.rows = 0  # validation rows on which each validation also logs gate use and the cosines
    # of the tasks' gradients (dtn_jax/analysis/watch.py); 0 is off. A cosine is the
    # mean over batches of data.batch_size: 10 batches' rows cost about ten steps and say something

    c.parallel = parallel = ConfigDict()
    parallel.strategy = "shard"  # shard: batch and tables split | pmap: the batch alone
    parallel.devices = 0  # how many, over all processes; 0 takes all
    parallel.table_devices = 0  # shard: devices that share a copy of the tables; 0 is all

    parallel.processes = (
        "off"  # off | auto (SLURM, TPU pod, Kubernetes, MPI) | HOST:PORT,COUNT,INDEX
    )
    parallel.heartbeat_seconds = 20  # a process silent for longer is dead, and ends the others

    c.debug = debug = ConfigDict()
    debug.check_ids = False  # check the range of every id inside the compiled step; slow
    return c.lock()  # an edit of an unknown key fails, and names the nearest
