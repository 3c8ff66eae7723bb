"""The recipe's fields, their units and their limits. A field that may be `None` is derived in `resolve.py`."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from seedbed.errors import InputError
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.extraction import ExtractConfig
from seedbed.recipe.layout import AUTO, parse_layout
from seedbed.recipe.objective import ObjectiveName
from seedbed.recipe.section import Section, SwitchedSection

HORIZONS = ("steps", "tokens", "flops", "minutes")
# Beyond any run so far by orders of magnitude; larger numbers are slips that would only run out of memory later.
MOST_STEPS = 10**9
MOST_BATCH_TOKENS = 2**31
MOST_CHANNELS = 2**24
MOST_CONTEXT = 2**30


class SourceConfig(Section):
    """One source of raw text: a built-in corpus, or a file or folder of the user's."""

    name: str = Field(default="", description="name in tables and lineage; default: the path's last part")
    path: str = Field(min_length=1, description="file, folder, URL (https://, s3://, gs://, hf://), or builtin:NAME")
    domain: str = Field(default="", description="domain tag; default: the reader's guess from the file type")
    licence: str = Field(default="", description="licence recorded for documents that state none of their own")
    text_field: str = Field(default="text", description="JSONL, Parquet: the field that holds the text")
    max_bytes: int | None = Field(
        default=None, gt=0, description="stop reading the source after this many bytes of text"
    )


class CorpusConfig(Section):
    sources: tuple[SourceConfig, ...] = Field(default=(), description="none only where tokens.shards are given")
    validation: tuple[SourceConfig, ...] = Field(
        default=(), description="named validation files; empty: a share of the documents is held out by hash"
    )
    held_out_fraction: float = Field(default=0.02, ge=0, lt=1, description="share of documents held out by text hash")
    held_out_max_bytes: int = Field(default=1_000_000, gt=0, description="cap on the held-out text, per domain")
    max_record_bytes: int = Field(
        default=64 << 20,
        gt=0,
        description="a larger file, line, record or cell is quarantined; memory grows twelvefold",
    )
    extract: ExtractConfig = ExtractConfig()

    @field_validator("sources", "validation", mode="before")
    @classmethod
    def paths_become_sources(cls, value: Any) -> Any:
        """A bare string stands for a source with that path."""
        if isinstance(value, str):
            value = [value]
        if isinstance(value, (list, tuple)):
            return [{"path": item} if isinstance(item, str) else item for item in value]
        return value


class TokenizerConfig(Section):
    path: str | None = Field(
        default=None, min_length=1, description="import this tokenizer.json instead of training one"
    )
    vocab_size: int | None = Field(default=None, ge=257, le=1_000_000, description="derived from model and corpus")
    pattern: Literal["gpt2", "gpt4", "qwen2", "o200k"] = "gpt4"
    max_training_bytes: int = Field(default=200_000_000, gt=0, lt=2**31, description="the trainer counts in int32")


class ShardsConfig(Section):
    """A folder of shards that exists already, here or in an object store."""

    name: str = Field(default="", description="name in mixtures and tables; default: the path's last part")
    path: str = Field(min_length=1, description="folder, or a URL that fsspec opens: s3://, gs://, https://, ...")


class TokensConfig(SwitchedSection):
    """What shards training reads, and how their stream becomes rows."""

    shards: tuple[ShardsConfig, ...] = Field(
        default=(), description="folders of shards to train on, instead of corpus.sources; tokenizer.path is theirs"
    )
    validation: tuple[ShardsConfig, ...] = Field(default=(), description="folders of held-out shards beside these")
    check: Literal["content", "sizes"] = Field(
        default="content", description="local shards, before training: read every byte, or compare sizes alone"
    )
    packing: Literal["concatenate", "best-fit"] = Field(
        default="concatenate", description="windows of the stream, or whole documents where they fit (Ding et al. 2024)"
    )
    document_masks: bool = Field(default=False, description="attention and targets stay within a document")
    shuffle_tokens: int | None = Field(
        default=None,
        gt=0,
        description="tokens mixed with one another, a block after the other; none: all, and 2^28 for shards that are fetched",
    )
    cache_bytes: int = Field(default=20_000_000_000, gt=0, description="disk that copies of fetched shards may fill")

    @field_validator("shards", "validation", mode="before")
    @classmethod
    def paths_become_folders(cls, value: Any) -> Any:
        """A bare string stands for a folder with that path."""
        if isinstance(value, str):
            value = [value]
        if isinstance(value, (list, tuple)):
            return [{"path": item} if isinstance(item, str) else item for item in value]
        return value

    @model_validator(mode="after")
    def shards_have_validation(self) -> "TokensConfig":
        if self.shards and not self.validation:
            raise ValueError("give validation too: a folder of held-out shards, or nothing can be evaluated")
        if self.validation and not self.shards:
            raise ValueError("validation belongs to shards: give those too, or corpus.validation beside text")
        return self


Weights = float | tuple[tuple[float, float], ...]


class MixtureConfig(SwitchedSection):
    """How much of training each source fills; without weights the corpus is one stream in which every token is alike."""

    by: Literal["source", "domain"] = Field(
        default="source", description="what is weighed; shards given: their folders"
    )
    weights: dict[str, Weights] = Field(
        default={},
        description="name -> number, or points [share of training, number] with straight lines between; a share given "
        "twice is a step",
    )
    relative_to: Literal["size", "nothing"] = Field(
        default="size",
        description="size: weights multiply a source's tokens, 1 where not given; nothing: they are shares, given for all",
    )
    max_epochs: float | None = Field(
        default=16.0,
        gt=0,
        description="most repetitions of a source; default: beyond it little is gained (Muennighoff et al. 2023, section 6)",
    )
    caps: dict[str, float] = Field(default={}, description="name -> most repetitions of that source")

    @field_validator("weights", mode="before")
    @classmethod
    def weights_are_numbers_or_points(cls, value: Any) -> Any:
        for name, weight in value.items() if isinstance(value, dict) else ():
            if isinstance(weight, (int, float)) and not isinstance(weight, bool):
                points: Any = [[0, weight]]
            else:
                points = weight
            fractions = [0.0]
            try:
                for fraction, number in points:
                    if not (0 <= number < float("inf") and fractions[-1] <= fraction <= 1):
                        raise ValueError
                    fractions.append(fraction)
            except (TypeError, ValueError):
                fractions = []
            if len(fractions) < 2:
                raise ValueError(
                    f"{name}: expected a number of 0 or more, or points such as [[0, 1], [0.8, 1], [1, 3]] whose first "
                    "numbers rise from 0 to 1"
                )
        return value

    @field_validator("caps")
    @classmethod
    def caps_are_positive(cls, value: dict[str, float]) -> dict[str, float]:
        for name, cap in value.items():
            if not 0 < cap < float("inf"):
                raise ValueError(f"{name}: expected a number of repetitions above 0; a weight of 0 leaves a source out")
        return value


class ModelConfig(Section):
    architecture: Literal["seedbed", "gpt2", "llama", "qwen3", "olmo2", "bert"] = "seedbed"
    size: str = Field(
        default="2M",
        description="matrix parameters of the layers, such as 2M, 120M or 1.3B; with experts: those that a token uses",
    )
    layers: int | None = Field(default=None, gt=0, le=10_000)
    width: int | None = Field(default=None, gt=0, le=MOST_CHANNELS)
    heads: int | None = Field(default=None, gt=0, le=MOST_CHANNELS)
    kv_heads: int | None = Field(default=None, gt=0, description="heads of keys and values; derived: as many as heads")
    head_width: int | None = Field(
        default=None, gt=0, le=MOST_CHANNELS, description="channels of a head; derived: width / heads"
    )
    mlp_width: int | None = Field(default=None, gt=0, le=MOST_CHANNELS)
    context: int | None = Field(default=None, ge=8, le=MOST_CONTEXT, description="tokens of context")
    windows: str = Field(
        default="L",
        pattern="^[SL]+$",
        description="a letter a layer, repeated: S sees model.window tokens, L all; the last layer always all; e.g. SSSL",
    )
    window: int | None = Field(default=None, gt=0, description="tokens an S layer sees; derived: half the context")
    rope_base: float | None = Field(
        default=None, gt=1, description="base of RoPE's angles; default: the architecture's"
    )
    rope_scaling: Literal["off", "linear", "llama3", "yarn"] = Field(
        default="off",
        description="how RoPE is stretched from rope_original_context to a context rope_factor times longer",
    )
    rope_factor: float | None = Field(default=None, gt=1)
    rope_original_context: int | None = Field(default=None, gt=0, description="derived: context / rope_factor")
    tied_head: bool | None = Field(
        default=None, description="the head shares the embedding's table; default: the architecture's"
    )
    logit_softcap: float = Field(default=0.0, ge=0, description="logits -> c tanh(logits / c); 0: off; nanochat: 15")
    ngram_rows: int | None = Field(
        default=None, ge=0, le=2**40, description="rows of each hashed n-gram table; 0: none"
    )
    prior_order: int | None = Field(
        default=None, ge=0, le=8, description="order of the counted n-gram expert mixed into the prediction; 0: none"
    )
    num_experts: int = Field(default=0, ge=0, le=4096, description="routed experts of a layer; 0: dense layers")
    experts_per_token: int | None = Field(default=None, gt=0, description="routed experts of a token; default: 2")
    shared_experts: int = Field(default=0, ge=0, description="experts that see every token")
    expert_width: int | None = Field(
        default=None, gt=0, description="channels in an expert; default: a token's experts together have mlp_width"
    )
    dense_layers: int = Field(default=0, ge=0, description="first layers without experts")
    expert_gate: Literal["softmax", "sigmoid"] = "sigmoid"
    normalise_gates: bool = Field(default=True, description="the gates of a token's experts sum to 1")
    routed_scale: float = Field(default=1.0, gt=0, description="factor on the gates of routed experts")
    expert_groups: int = Field(default=1, gt=0, description="groups of experts, of which a token uses some")
    groups_per_token: int = Field(default=1, gt=0)
    balance: Literal["bias", "loss", "off"] = Field(
        default="bias", description="what keeps the experts' loads even: a bias outside the gradient, or a loss"
    )
    balance_rate: float | None = Field(default=None, gt=0, description="step of the balancing bias; default: by length")
    balance_loss: float = Field(default=0.01, gt=0, description="weight of the balance loss")
    router_z_loss: float = Field(default=0.0, ge=0, description="weight of the router's z-loss; ST-MoE uses 0.001")
    attention: Literal["gqa", "mla"] = Field(
        default="gqa", description="keys and values by kv_heads, or made from a latent (DeepSeek)"
    )
    kv_rank: int | None = Field(default=None, gt=0, description="mla: channels of the latent")
    query_rank: int | None = Field(
        default=None, ge=0, description="mla: channels the queries pass through; 0: one matrix"
    )
    plain_width: int | None = Field(default=None, gt=0, description="mla: channels of a head without position")
    rope_width: int | None = Field(default=None, gt=0, description="mla: channels of a head that RoPE turns")
    value_width: int | None = Field(default=None, gt=0, description="mla: channels of a head's values")


class TrainConfig(Section):
    """Exactly one of steps, tokens, flops and minutes is the horizon."""

    steps: int | None = Field(default=None, gt=0, le=MOST_STEPS)
    tokens: int | None = Field(default=None, gt=0)
    flops: float | None = Field(default=None, gt=0)
    minutes: float | None = Field(
        default=None, gt=0, description="wall-clock minutes, counting, measuring and compiling included"
    )
    max_epochs: float | None = Field(
        default=None,
        gt=0,
        description="passes over the corpus at which minutes end; default: 2 with n-gram tables, else 4",
    )
    objective: ObjectiveName = Field(
        default="causal",
        description="causal: the next token; masked: hidden tokens, by an encoder; span: spans moved to the row's end; "
        "fim: prefix, suffix, middle",
    )
    mask_fraction: float = Field(default=0.15, gt=0, lt=1, description="masked: share of the tokens that are asked")
    mask_whole_words: bool = Field(default=False, description="masked: ask all tokens of a word or none")
    span_fraction: float = Field(default=0.15, gt=0, lt=1, description="span: share of the tokens that are moved")
    span_tokens: float = Field(default=3.0, ge=1, description="span: tokens of a span, on average")
    fim_fraction: float = Field(default=0.5, ge=0, le=1, description="fim: share of the documents that are rearranged")
    fim_spm_fraction: float = Field(default=0.5, ge=0, le=1, description="fim: share of these with the suffix first")
    optimizer: Literal["muon", "adamw"] = "muon"
    schedule: Literal["trapezoid", "linear", "cosine", "inverse_sqrt"] = "trapezoid"
    batch_tokens: int | None = Field(default=None, gt=0, le=MOST_BATCH_TOKENS, description="tokens of the global batch")
    batch_warmup: tuple[tuple[int, int], ...] = Field(
        default=(),
        description="smaller global batches first, as pairs of steps and tokens: [[500, 8192], [500, 16384]]",
    )
    micro_batch_rows: int | None = Field(default=None, gt=0, description="sequences a device holds at once")
    warmup_fraction: float = Field(default=0.01, ge=0, lt=1)
    decay_fraction: float = Field(default=0.6, gt=0, le=1, description="trapezoid: share of the steps that decays")
    decay_from_step: int | None = Field(
        default=None, ge=0, description="trapezoid: the step its decay begins at, in place of decay_fraction"
    )
    start_from: str | None = Field(
        default=None,
        description="go on from a checkpoint that a run kept: RUN@STEP or its folder; decays at once unless decay_from_step "
        "is later; the horizon counts from step 0",
    )
    final_lr_fraction: float = Field(default=0.02, ge=0, le=1)
    matrix_lr: float | None = Field(default=None, gt=0)
    embedding_lr: float | None = Field(default=None, gt=0)
    head_lr: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    grad_clip: float | None = Field(default=None, gt=0, description="most norm of all gradients; none: no limit")
    precision: Literal["auto", "float32", "bfloat16", "float8"] = "auto"
    recompute: Literal["auto", "none", "selective", "full"] = Field(
        default="auto",
        description="activations a layer drops and recomputes backward; auto: none unless memory runs out",
    )
    loss_chunk_tokens: int | None = Field(
        default=None,
        ge=0,
        description="tokens whose logits the loss holds at once; 0: all; default: all that are cheap",
    )
    compile: Literal["auto", "on", "off"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(default=None, gt=0, description="CPU threads; default: the physical cores")
    parallel: str = Field(
        default="auto",
        description="how the ranks of torchrun share the model: auto, or degrees of dp, fsdp, tp, cp, pp, ep: fsdp=8,tp=2",
    )
    checkpoint_seconds: float = Field(default=20.0, gt=0, description="seconds between checkpoints")
    keep_checkpoints: int = Field(default=2, gt=0, description="the newest ones; older ones are removed")
    keep_every_steps: int | None = Field(
        default=None, gt=0, description="checkpoint at each multiple of these steps too, and keep those beyond the end"
    )
    validate_every_fraction: float = Field(default=0.2, gt=0, le=1, description="share of the steps between looks")

    sinks: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        default=(), description="who is told the numbers besides events.jsonl"
    )
    spike_sigmas: float = Field(
        default=8.0, ge=0, description="robust standard deviations above the usual loss that are a spike; 0: none is"
    )
    spike_window_steps: int = Field(default=128, ge=32, description="last steps that say what loss is usual")
    bad_steps_in_a_row: int = Field(
        default=4, gt=0, description="spikes or not finite steps after which training goes back"
    )
    rewind_margin_steps: int = Field(
        default=16, ge=0, description="steps before the first bad one that are skipped too when training goes back"
    )
    max_rewinds: int = Field(default=4, ge=0, description="times that training goes back before it ends instead")
    stuck_seconds: float = Field(
        default=60.0, ge=0, description="least seconds after which a step counts as stuck, if 20 usual steps; 0: never"
    )

    @model_validator(mode="after")
    def exactly_one_horizon(self) -> "TrainConfig":
        given = [name for name in HORIZONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(HORIZONS)} (found: {', '.join(given) or 'none'})")
        return self

    @field_validator("parallel")
    @classmethod
    def parallel_is_a_layout(cls, value: str) -> str:
        if value != AUTO:
            try:
                parse_layout(value)
            except InputError as error:
                raise ValueError(str(error).removeprefix("train.parallel: ")) from None
        return value


class EvaluateConfig(SwitchedSection):
    max_bytes_per_domain: int = Field(default=400_000, gt=0, description="held-out bytes scored per domain")
    ngram_order: int = Field(default=5, ge=1, le=8, description="order of the byte n-gram model beside the score")
    prompts: tuple[str, ...] = ()
    sample_tokens: int = Field(default=120, gt=0)
    temperature: float = Field(default=0.8, ge=0)
    top_k: int | None = Field(default=50, gt=0)


class CostConfig(Section):
    """Constants of the receipt's estimates; they enter no stage's key."""

    dollars_per_kwh: float = Field(
        default=0.17, ge=0, description="electricity; default: US residential mean, 2024, EIA"
    )
    dollars_per_hour: float = Field(default=0.0, ge=0, description="rent of the machine; 0 on one's own")
    grid_kg_co2_per_kwh: float = Field(default=0.473, ge=0, description="default: world mean, 2024, Ember")
    watts: float | None = Field(
        default=None, gt=0, description="the machine's draw at work; default: counters or estimate"
    )
    pue: float = Field(default=1.0, ge=1, description="power usage effectiveness of the building")


class Recipe(Section):
    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = Field(default=1, ge=0, lt=2**31)
    corpus: CorpusConfig = CorpusConfig()
    curate: CurateConfig = CurateConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    tokens: TokensConfig = TokensConfig()
    mixture: MixtureConfig = MixtureConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    cost: CostConfig = CostConfig()

    @model_validator(mode="after")
    def text_or_shards(self) -> "Recipe":
        if bool(self.corpus.sources) == bool(self.tokens.shards):
            found = "both" if self.tokens.shards else "neither"
            raise ValueError(f"give either corpus.sources (--corpus PATH) or tokens.shards (found {found})")
        if self.tokens.shards and self.tokenizer.path is None:
            raise ValueError("tokens.shards: give tokenizer.path, the tokenizer.json that the shards were made with")
        return self
