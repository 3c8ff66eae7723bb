"""From a preset, a file and dials to one complete recipe."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.recipe import load_recipe, preset_names
from seedbed.recipe.dump import dump_recipe, load_resolved, toml_value
from seedbed.recipe.shape import derive_heads, derive_shape, parse_count

HORIZONS = ("steps", "tokens", "flops", "minutes")


@pytest.mark.parametrize("name", ["first-light", "gpt2", "llama", "gpt2-124m", "llama-8b"])
def test_presets_load_and_are_complete(name: str) -> None:
    assert name in preset_names()
    recipe = load_recipe(name)
    assert recipe.name == name
    model, train = recipe.model, recipe.train
    assert model.layers and model.width and model.heads and model.context and train.batch_tokens
    assert model.width % model.heads == 0 and train.batch_tokens % model.context == 0


def test_dials_and_settings_win_over_the_preset_in_order() -> None:
    recipe = load_recipe(settings=["train.minutes=3", "model.width=96", "seed=7"], minutes=9.0, size="2M")
    assert (recipe.train.minutes, recipe.model.size, recipe.model.width, recipe.seed) == (3.0, "2M", 96, 7)


@pytest.mark.parametrize("first", HORIZONS)
@pytest.mark.parametrize("second", HORIZONS)
def test_a_later_horizon_replaces_an_earlier_one(first: str, second: str) -> None:
    train = load_recipe(settings=[f"train.{first}=100", f"train.{second}=200"]).train
    assert {name: getattr(train, name) for name in HORIZONS if getattr(train, name) is not None} == {second: 200}


def test_attention_is_derived_and_checked() -> None:
    settings = ["model.windows=SSSL", "model.rope_scaling=yarn", "model.rope_factor=4", "model.head_width=48"]
    model = load_recipe("llama", settings=settings).model
    assert (model.context, model.window, model.rope_original_context, model.head_width) == (128, 64, 32, 48)
    plain = load_recipe("llama").model
    assert (plain.window, plain.rope_original_context) == (None, None)
    assert plain.width and plain.heads and plain.head_width == plain.width // plain.heads
    with pytest.raises(InputError, match=r"model\.window: 128 is all of model\.context 128"):
        load_recipe(settings=["model.windows=SL", "model.window=128"])
    with pytest.raises(InputError, match=r"model\.rope_base: gpt2 learns its positions"):
        load_recipe("gpt2", settings=["model.rope_base=500000.0"])


def test_a_size_replaces_the_shape_given_before_it() -> None:
    small = load_recipe("llama-8b", size="1M", settings=["train.batch_tokens=none"])
    alike = load_recipe("llama", size="1M")
    assert small.model.layers == alike.model.layers and small.model.mlp_width == alike.model.mlp_width
    assert small.model.rope_base == 500_000 and small.train.batch_tokens == alike.train.batch_tokens
    kept = load_recipe("llama-8b", settings=["model.size=1M", "model.layers=3"]).model
    assert (kept.layers, kept.width) == (3, alike.model.width)


def test_a_corpus_of_ones_own_takes_three_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "my letters ü.toml"
    file.write_text('[corpus]\nsources = ["../texts", "builtin:kjv"]\nvalidation = [{ path = "held.txt" }]\n')
    monkeypatch.chdir("/")
    recipe = load_recipe(str(file))
    assert [source.path for source in recipe.corpus.sources] == [str(tmp_path / "texts"), "builtin:kjv"]
    assert recipe.corpus.validation[0].path == str(tmp_path / "sub" / "held.txt")
    assert recipe.name == "my-letters" and recipe.train.minutes == load_recipe().train.minutes


def test_a_file_names_its_preset(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('preset = "gpt2"\n[train]\nsteps = 5\n')
    recipe = load_recipe(str(tmp_path / "mine.toml"))
    assert (recipe.name, recipe.model.architecture, recipe.train.steps, recipe.train.minutes) == (
        "mine", "gpt2", 5, None,
    )  # fmt: skip


def test_a_size_may_be_a_plain_number() -> None:
    assert load_recipe(settings=["model.size=1_000_000"]).model == load_recipe(size="1M").model.model_copy(
        update={"size": "1000000"}
    )


def test_an_imported_tokenizer_brings_its_own_vocabulary() -> None:
    """The preset's size goes with the preset's tokenizer; one given after the import is kept, and checked against it."""
    assert load_recipe("gpt2-124m").tokenizer.vocab_size == 50257
    assert load_recipe("gpt2-124m", settings=["tokenizer.path=mine.json"]).tokenizer.vocab_size is None
    both = ["tokenizer.path=mine.json", "tokenizer.vocab_size=512"]
    assert load_recipe("gpt2-124m", settings=both).tokenizer.vocab_size == 512


def test_the_corpus_dial_replaces_sources_and_names_the_run(tmp_path: Path) -> None:
    (tmp_path / "größe & more.v2.txt").write_text("x")
    (tmp_path / "notes").mkdir()
    recipe = load_recipe(corpus=[tmp_path / "größe & more.v2.txt", tmp_path / "notes"])
    assert recipe.name == "gr--e---more"
    sources = [str(tmp_path / "größe & more.v2.txt"), str(tmp_path / "notes")]
    assert [source.path for source in recipe.corpus.sources] == sources


WRONG = {
    "train.stepz=5": r"unknown recipe key train\.stepz: did you mean train\.steps\?",
    "corpus.sources=[{pth='x'}]": r"unknown recipe key corpus\.sources\[0\]\.pth: did you mean corpus\.sources\[0\]\.path\?",
    "trian.steps=5": r"unknown recipe key trian: did you mean train\?",
    "steps=5": r"unknown recipe key steps: did you mean curate\.steps or train\.steps\?",
    "train.lr=0.1": r"unknown recipe key train\.lr: did you mean train\.matrix_lr or train\.embedding_lr or train\.head_lr\?",
    "train.width=64": r"unknown recipe key train\.width: did you mean model\.width\?",
    "nothing=5": r"unknown recipe key nothing: known: name, .*train",
    "model=5": r"model is a section: give its fields, such as model\.architecture",
    "train.steps=-1": r"train\.steps: expected a number greater than 0 \(found -1\)",
    "train.steps=many": r"train\.steps: expected a whole number \(found 'many'\)",
    "train.steps=1.5": r"train\.steps: expected a whole number \(found 1\.5\)",
    "train.steps=true": r"train\.steps: not a switch that is true or false \(found True\)",
    "train.steps=1000000000000": r"train\.steps: expected a number less than or equal to 1000000000",
    "model.layers=1e30": r"model\.layers: expected a whole number|less than or equal to 10000",
    "train.minutes=inf": r"train\.minutes: expected a finite number \(found inf\)",
    "train.matrix_lr=[1]": r"train\.matrix_lr: expected a number \(found \[1\]\)",
    "curate.basic.mean_word_length=3": r"curate\.basic\.mean_word_length: expected a list \(found 3\)",
    "curate.dedup.near=2": r"curate\.dedup\.near: expected true or false \(found 2\)",
    "mixture.caps=3": r"mixture\.caps: expected a table \(found 3\)",
    "corpus.sources=": r"corpus\.sources\.0\.path: .*at least 1 character",
    "tokens.validation=x": r"tokens: validation belongs to shards: give those too",
    "train..steps=3": r"expected KEY=VALUE",
    "model.architecture=rnn": r"model\.architecture: .*'seedbed', 'gpt2', 'llama'.*\(found 'rnn'\)",
    "model.size=big": r"model\.size: 'big' is not a size",
    "model.heads=5": r"model\.heads: 5 does not divide model\.width \d+",
    "model.kv_heads=3": r"model\.kv_heads: 3 does not divide model\.heads 4",
    "model.head_width=7": r"heads of width 7 are odd",
    "model.windows=SX": r"model\.windows: .*pattern",
    "model.window=64": r"model\.window: 64, and no layer has one: set model\.windows",
    "model.rope_scaling=yarn": r"model\.rope_scaling: yarn by how much: give model\.rope_factor",
    "model.rope_factor=4": r"model\.rope_factor: nothing is scaled: set model\.rope_scaling",
    "model.prior_order=1": r"model\.prior_order: 1 is no context",
    "train.batch_tokens=1000": r"train\.batch_tokens: 1000 is not a multiple of model\.context 128",
    "train.minutes=none": r"give exactly one of steps, tokens, flops, minutes \(found: none\)",
    "corpus.sources=[]": r"corpus\.sources",
    "name=../x": r"name: ",
    "steps": r"expected KEY=VALUE",
    "=5": r"expected KEY=VALUE",
}


@pytest.mark.parametrize("setting", WRONG)
def test_a_wrong_setting_is_one_line_with_the_field_and_the_remedy(setting: str) -> None:
    with pytest.raises(InputError, match=WRONG[setting]) as caught:
        load_recipe(settings=[setting])
    assert "\n" not in str(caught.value)


def test_a_wrong_value_is_reported_where_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[train]\nmatrix_lr = -1.0\n")
    with pytest.raises(InputError, match=r"mine\.toml: train\.matrix_lr"):
        load_recipe(str(file), settings=["seed=3"])


def test_a_wrong_file_is_one_line(tmp_path: Path) -> None:
    for content, message in (
        (b"[train", "not valid TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"preset = 5", "must be the name of a preset"),
        (b'preset = "first-lihgt"', "did you mean 'first-light'"),
    ):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            load_recipe(str(tmp_path / "bad.toml"))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="did you mean 'first-light'"):
        load_recipe("first-ligth")
    with pytest.raises(InputError, match="does not exist"):
        load_recipe(corpus=[tmp_path / "absent"])


@given(st.text(max_size=60))
def test_any_text_as_a_setting_gives_a_recipe_or_one_line(text: str) -> None:
    for setting in (text, f"train.{text}", f"seed={text}", f"description={text}", f"train.steps={text}"):
        try:
            load_recipe(settings=[setting])
        except InputError as error:
            assert "\n" not in str(error)


maybe = st.none() | st.floats(0.01, 0.99)
fields = st.fixed_dictionaries(
    {
        "description": st.text(st.characters(codec="utf-8"), max_size=30),
        "seed": st.integers(0, 2**31 - 1),
        "curate.basic.min_words": st.none() | st.integers(0, 100),
        "curate.basic.max_symbol_fraction": maybe,
        "curate.unicode_form": st.sampled_from(["NFC", "NFKC", "none"]),
        "evaluate.top_k": st.none() | st.integers(1, 500),
        "evaluate.prompts": st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=3),
        "train.matrix_lr": maybe,
        "train.flops": st.floats(1.0, 1e25),
        "cost.watts": maybe,
        "model.layers": st.integers(1, 9),
    }
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(fields)
def test_a_dumped_recipe_loads_as_itself(tmp_path: Path, values: dict[str, object]) -> None:
    given_settings = [f"{key}={'none' if value is None else toml_value(value)}" for key, value in values.items()]
    recipe = load_recipe(settings=given_settings)
    path = tmp_path / "recipe.toml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_resolved(path) == recipe


@given(st.floats(1e5, 1e11))
def test_a_derived_shape_is_near_the_size_asked_for(parameters: float) -> None:
    layers, width = derive_shape(int(parameters))
    assert 0.5 < 12 * layers * width**2 / parameters < 2
    assert width % derive_heads(width) == 0 and width // derive_heads(width) % 2 == 0


def test_sizes_are_read_with_their_units() -> None:
    assert [parse_count(text) for text in ("1500", "20k", "2M", "1.3B", "1T")] == [
        1500, 20_000, 2_000_000, 1_300_000_000, 10**12,
    ]  # fmt: skip
    for text in ("", "M", "-2M", "nan", "infB", "0", "2X"):
        with pytest.raises(InputError):
            parse_count(text)


@pytest.mark.parametrize("phases", ["[[0, 128]]", "[[5, 100]]", "[[5, 1024]]", "[[5, 512], [5, 256]]"])
def test_a_batch_warmup_must_grow_to_the_batch_in_whole_rows(phases: str) -> None:
    settings = ["model.context=128", "train.batch_tokens=1024"]
    with pytest.raises(InputError, match=r"^train\.batch_warmup: \["):
        load_recipe(settings=[*settings, f"train.batch_warmup={phases}"])
    assert load_recipe(settings=[*settings, "train.batch_warmup=[[5, 256], [5, 512]]"]).train.batch_warmup == (
        (5, 256),
        (5, 512),
    )
