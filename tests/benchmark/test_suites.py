"""Suites: the papers' tables cell for cell, pairs with all else equal, overrides by protocol."""

import pytest
import torch
import yaml

from benchmark.cell.fit import CellCLI
from benchmark.planning.compose import without_description
from benchmark.planning.library import known_names, load_settings, load_suite
from benchmark.planning.plan import make_plan
from contract.errors import UserError
from leaderboards.published.reported import published_values

NOT_BUILT = {"morph", "fusion_gnet", "tiramisu", "segcaps"}
"""CT methods that LGAN's Table 4 quotes."""

BESIDE_A_PAPER = {name for name in known_names("systems") if name.endswith(("_dilated", "_last"))}
"""Systems that differ from another in their masks or their checkpoint alone."""


def printed(*papers):
    """Every (system, protocol) for which the papers print a number."""
    return {
        (value.system, value.protocol)
        for value in published_values()
        if value.paper in papers and value.nearest and value.system not in NOT_BUILT
    }


def plain(system):
    """The system that learns the masks as they were drawn."""
    return system.removesuffix("_dilated")


@pytest.fixture
def planned(tmp_path):
    """Return a function that gives a suite's (system, protocol)s, each with its seeds."""

    def plan(suite):
        found = {}
        for cell in make_plan(suite, tmp_path / "runs", tmp_path / "no data").cells:
            found.setdefault((cell.system, cell.protocol), []).append(cell.seed)
        return found

    return plan


@pytest.mark.parametrize("suite", ["gaal2020", "maga2021", "ganunet", "defunet", "lgan"])
def test_a_papers_suite_is_its_tables_cell_for_cell(suite, planned):
    cells = planned(suite)
    on_plain_masks = {(plain(system), protocol) for system, protocol in printed(suite)}
    assert set(cells) == printed(suite) | on_plain_masks
    assert {tuple(seeds) for seeds in cells.values()} == {load_suite(suite).seeds}


def test_lgan_runs_on_chest_x_rays_too():
    lgan = {system for system, _ in printed("lgan")}
    assert lgan <= set(load_suite("cross_dataset").systems) & set(load_suite("zoo").systems)


def test_published_joins_all_tables_on_chest_x_rays(planned):
    expected = printed("gaal2020", "maga2021", "ganunet", "defunet")
    assert set(planned("published")) == expected


def test_every_system_is_in_the_zoo_and_crosses_data_sets():
    every = set(known_names("systems")) - BESIDE_A_PAPER
    # What is made for two cores is whole in `measured`, and needs no small copy; its twin neither.
    whole = {"lung_baseline", "lung_baseline_large"}
    assert set(load_suite("zoo").systems) == every - whole | {"defu_net_dilated"}
    assert "lung_baseline" in load_suite("measured").systems
    assert set(load_suite("cross_dataset").systems) == every


def test_a_dilated_system_differs_from_its_plain_one_in_the_masks_alone():
    dilated = {name for name in BESIDE_A_PAPER if name.endswith("_dilated")}
    assert {(plain(name), p) for name in dilated for p in ("mixed_m_s", "m_to_s", "s_to_m")} == {
        (plain(name), p) for name, p in printed("defunet")
    }
    for name in dilated:
        settings = [without_description(load_settings("systems", n)) for n in (name, plain(name))]
        assert settings[0].pop("preprocessing") == {
            "dilate": 15,
            **settings[1].pop("preprocessing"),
        }
        assert settings[0] == settings[1]


def test_cross_dataset_holds_every_train_and_test_set(planned):
    protocols = {protocol for _, protocol in planned("cross_dataset")}
    assert {"m_to_s", "s_to_m", "all_to_jsrt", "mixed_m_s"} <= protocols
    assert {"j_to_m", "j_to_s", "m_to_j", "s_to_j", "jsrt", "montgomery", "shenzhen"} <= protocols
    assert {f"leave_{name}_out" for name in ("jsrt", "montgomery", "shenzhen")} <= protocols


def test_a_pair_differs_from_another_in_its_two_networks_only(tmp_path, phantom_root):
    cells = make_plan("pairings", tmp_path, phantom_root).cells
    m_to_s = [cell for cell in cells if cell.protocol == "m_to_s" and cell.seed == 0]
    assert len(m_to_s) == 24 == len({cell.config_hash for cell in m_to_s})
    assert sum(cell.system.endswith("_vs_none") for cell in m_to_s) == 4

    def common(cell):
        model = dict(cell.config["model"]["init_args"])
        for networks in ("generator", "critic", "objective"):
            model.pop(networks, None)
        return yaml.safe_dump([model, cell.config["data"], cell.config["trainer"]])

    assert len({common(cell) for cell in m_to_s}) == 1


def test_pairs_of_one_generator_start_from_the_same_weights(tmp_path, phantom_root):
    starts = []
    for cell in make_plan("pairings", tmp_path, phantom_root, {"preprocessing.size": 64}).cells:
        if cell.protocol == "m_to_s" and cell.seed == 1 and cell.system.startswith("unet_vs_"):
            config = tmp_path / f"{cell.system}.yaml"
            config.write_text(yaml.safe_dump(cell.config))
            generator = CellCLI(config, tmp_path, ["--trainer.accelerator=cpu"]).model.generator
            starts.append(generator.state_dict())
    assert len(starts) == 6
    for start in starts[1:]:
        assert all(torch.equal(start[key], starts[0][key]) for key in start)


def test_an_override_by_protocol_changes_that_protocols_cells_only(
    write_suite, phantom_root, tmp_path
):
    def epochs(suite, **settings):
        cells = make_plan(str(suite), tmp_path, phantom_root, **settings).cells
        return {cell.protocol: (cell.config["trainer"]["max_epochs"], cell) for cell in cells}

    plain = epochs(write_suite("plain", protocols=["m_to_s", "s_to_m"]))
    longer = {"s_to_m": {"trainer.max_epochs": 7, "model.init_args.absent?": 1}}
    suite = write_suite("longer", protocols=["m_to_s", "s_to_m"], protocol_overrides=longer)
    changed = epochs(suite)
    assert {name: count for name, (count, _) in changed.items()} == {"m_to_s": 5, "s_to_m": 7}
    assert changed["m_to_s"][1].config_hash == plain["m_to_s"][1].config_hash
    assert changed["s_to_m"][1].config_hash != plain["s_to_m"][1].config_hash
    assert "absent" not in changed["s_to_m"][1].config["model"]["init_args"]
    assert epochs(suite, changes={"trainer.max_epochs": 3})["s_to_m"][0] == 3


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("system_overrides", {"unett": {"batch_size": 1}}),
        ("system_protocols", {"adversarial_attention_unet": ["m_too_s"]}),
        ("protocol_overrides", {"s_to_m": {"batch_size": 1}}),
    ],
)
def test_settings_for_what_the_suite_does_not_hold_are_refused(
    key, settings, write_suite, phantom_root, tmp_path
):
    with pytest.raises(UserError, match="settings for"):
        make_plan(str(write_suite(**{key: settings})), tmp_path, phantom_root)


def test_a_suite_of_pairs_needs_generators_and_critics(tmp_path):
    suite = tmp_path / "half.yaml"
    suite.write_text("base: unet\nprotocols: [m_to_s]\n")
    with pytest.raises(UserError, match="no key 'critics'"):
        load_suite(str(suite))
