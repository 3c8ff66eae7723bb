"""The tables hold what the field's devices are, and a user's file changes them or is refused in one line."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.plan.chips import CHIPS, find_chip
from seedbed.plan.footprint import Building, footprint
from seedbed.plan.grids import find_grid
from seedbed.plan.money import data_usd, goodput_of, owned_usd_hour
from seedbed.plan.tables import load_tables

ASKED = "v100 a100-40 a100 h100 h100-pcie h200 b200 gb200 mi300x tpu-v4 tpu-v5e tpu-v5p tpu-v6e tpu-v7 trainium2"


@pytest.mark.parametrize("name", ASKED.split())
def test_the_table_has_the_device(name: str) -> None:
    chip = CHIPS[name]
    assert 1e10 < chip.memory_bytes < 1e12 and 1e11 < chip.memory_bandwidth < 1e13
    assert 1e14 < chip.bfloat16_flops < 1e16
    assert chip.rent_usd_hour is None or list(chip.rent_usd_hour) == sorted(chip.rent_usd_hour)


def write(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


def test_a_users_file_changes_a_row_and_adds_one(tmp_path: Path) -> None:
    text = """
[chips.h100]
rent_usd_hour = [2.1, 2.1, 2.1]
[chips.ours]
memory_gb = 48
bandwidth_gbs = 900
bf16_tflops = 180
link_gbs = 30
network_gbs = 10
machine = 4
source = "measured"
[grids.here]
kg_co2_kwh = 0.05
litres_kwh = 1.0
monthly = [1.5, 1.5, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5]
"""
    tables = load_tables(write(tmp_path, text))
    assert find_chip("h100", tables).rent_usd_hour == (2.1, 2.1, 2.1)
    assert find_chip("h100", tables).watts == CHIPS["h100"].watts
    ours = find_chip("ours", tables)
    assert ours.memory_bytes == 48e9 and math.isnan(ours.watts)
    grid = find_grid("here", tables)
    winter, summer = grid.carbon_of(1, 700)[0], grid.carbon_of(6, 700)[0]
    assert winter == pytest.approx(0.075) and summer == pytest.approx(0.025)
    assert grid.carbon_of(1, 8766)[0] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[chips.h100]\nrent = 2.0", "unknown field chips.h100.rent: did you mean rent_"),
        ("[chip.h100]\nrent_usd_hour = [1, 2, 3]", "unknown section 'chip': did you mean chips"),
        ("[chips.h100]\nwatts = '700 W'", "chips.h100.watts: expected a number"),
        ("[chips.h100]\nrent_usd_hour = [3, 2, 1]", "expected 3 numbers, rising"),
        ("[chips.h100]\nwatts = nan", "expected a number"),
        ("[chips.mine]\nwatts = 100", "chips.mine.memory_gb is missing"),
        ("[grids.USA]\nmonthly = [1.0]", "expected 12 numbers"),
        ("chips = 3", "unknown section 'chips'"),
        ("[chips", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        find_chip("mine", load_tables(write(tmp_path, text)))
    assert said in str(error.value) and "\n" not in str(error.value)


@given(st.binary(max_size=200))
def test_no_file_ends_in_anything_but_input_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("tables") / "own.toml"
    path.write_bytes(content)
    try:
        load_tables(path)
    except InputError as error:
        assert "\n" not in str(error)


def test_months_average_one_and_know_spring_from_summer() -> None:
    """EIA's and CNE's series: US power is cleanest in April and dirtiest in July; Chile's in November and May."""
    grids = {name: find_grid(name) for name in load_tables().grids}
    with_months = {name for name, grid in grids.items() if grid.monthly}
    assert with_months == {"USA", "CHL"}
    for name, clean, dirty in (("USA", 4, 7), ("CHL", 11, 5)):
        months = [grids[name].carbon_of(month, 700)[0] for month in range(1, 13)]
        assert months.index(min(months)) == clean - 1 and months.index(max(months)) == dirty - 1
        assert sum(months) / 12 == pytest.approx(grids[name].kg_co2_kwh, rel=1e-3)
        assert grids[name].carbon_of(5, 20 * 8766)[0] == pytest.approx(grids[name].kg_co2_kwh, rel=1e-3)


def test_regions_are_found_by_code_or_name() -> None:
    assert find_grid("france").name == find_grid("FRA").name == "FRA"
    with pytest.raises(InputError, match="did you mean France"):
        find_grid("Frence")
    # hydropower: little carbon, much water (Brazil), against coal (Poland)
    brazil, poland = find_grid("BRA"), find_grid("POL")
    assert brazil.kg_co2_kwh < poland.kg_co2_kwh and brazil.litres_kwh > poland.litres_kwh


def test_boundaries_hold_one_another_and_sources_agree() -> None:
    tables = load_tables()
    found = footprint(CHIPS["h100"], 1000.0, Building(1.2, 0.36, find_grid("USA"), clean_share=0.5), tables)
    assert found.chip_kwh == pytest.approx(525) and found.server_kwh == pytest.approx(525 * 1.821)
    assert found.facility_kwh == pytest.approx(1.2 * found.server_kwh)
    assert found.kg_market == pytest.approx(found.kg_location / 2)
    assert found.litres_site == pytest.approx(0.36 * found.server_kwh)
    assert found.litres_grid == pytest.approx(found.facility_kwh * find_grid("USA").litres_kwh)


def test_data_from_a_measured_rate_costs_its_core_hours() -> None:
    # 4.5 GB of text kept of 45 GB read, at 4.3 MB a second: 2.9 core-hours of 4 cents
    assert data_usd(4.3, load_tables()) == pytest.approx(45e9 / 4.3e6 / 3600 * 0.04)
    assert data_usd(4.3, load_tables()) == pytest.approx(0.116, abs=0.001)


def test_amortisation_is_epochs() -> None:
    # price x 0.14 ln 10 / 8766 (Cottier et al. 2024): a DGX H100's share loses $1.64 an hour when new
    assert owned_usd_hour(44_490) == pytest.approx(44_490 * 0.14 * math.log(10) / 8766)
    assert owned_usd_hour(44_490, years=1 / 0.14) == pytest.approx(owned_usd_hour(44_490) / 10)


def test_goodput_of_16384_devices_is_llama_3s() -> None:
    assert goodput_of(16_384, 0.95, load_tables()) == pytest.approx(0.9, abs=0.01)  # "higher than 90%", section 3.3.4
