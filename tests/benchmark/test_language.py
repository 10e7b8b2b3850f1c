"""A faulty configuration stops `plan` before anything starts, in words that name file and key."""

import json
import time

import pytest
import yaml

from benchmark.__main__ import main
from benchmark.planning.library import known_names
from benchmark.planning.plan import make_plan

NETWORK = """
from torch import nn


class MyNet(nn.Conv2d):
    def __init__(self, classes: int, width: int = 4) -> None:
        super().__init__(1, classes, 3, padding=1)

    @classmethod
    def narrow(cls, classes: int, depth: int = 1) -> "MyNet":
        return cls(classes, 2)


class Wrapped(MyNet):
    def __init__(self, **options) -> None:
        super().__init__(**options)


Other = MyNet


def build(depth: int = 1, **options):
    return MyNet(width=4, **options)


def deaf(classes: int, **options):
    return MyNet(classes)


def choosy(classes: int, **options):
    return MyNet(classes, options.pop("old_width", 4), **options)
"""
GENERATOR = {"class_path": "my_net.MyNet", "init_args": {"classes": "$classes"}}
SOUND = {"extends": "unet", "model": {"init_args": {"generator": GENERATOR}}}


def changed(*keys, value):
    """A sound system with one value changed, or one key added, as YAML."""
    settings = json.loads(json.dumps(SOUND))
    place = settings
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = value
    return yaml.safe_dump(settings)


ARGUMENTS = ("model", "init_args")
NET = (*ARGUMENTS, "generator")
OPTIMISER = (*ARGUMENTS, "generator_optimizer")

SYSTEMS = {
    "an argument of the module": (changed(*ARGUMENTS, "generatr", value=GENERATOR),
                                  "model.init_args", "'generatr'", "did you mean 'generator'"),
    "a class of one's own": (changed(*NET, "class_path", value="my_net.MyNett"),
                             "generator.class_path", "MyNett", "did you mean 'MyNet'"),
    "a module": (changed(*NET, "class_path", value="my_nett.MyNet"),
                 "generator.class_path", "my_nett", "did you mean 'my_net'"),
    "a module of the project": (changed(*NET, "class_path",
                                        value="lightning_modules.generators.unett.UNet"),
                                "generator.class_path", "'unett'", "did you mean 'unet'"),
    "a path of one word": (changed(*NET, "class_path", value="MyNet"),
                           "generator.class_path", "'MyNet'", "module.Class"),
    "a number for a class": (changed(*NET, "class_path", value=5), "class_path", "5", "class path"),
    "no network": (changed(*NET, value=None), "model.init_args.generator", "null", "class_path"),
    "a network of another kind": (changed(*NET, value={"class_path": "torch.optim.Adam"}),
                                  "generator.class_path", "torch.optim.Adam", "Module"),
    "an argument of the network": (changed(*NET, "init_args", "clases", value=2),
                                   "generator.init_args", "'clases'", "did you mean 'classes'"),
    "text for a number": (changed(*NET, "init_args", "width", value="wide"),
                          "generator.init_args.width", "'wide'", "a whole number"),
    "what a class hands up": (changed(*NET, value={"class_path": "my_net.Wrapped", "init_args": {
                                  "widht": 4}}), "generator.init_args", "'widht'", "'width'"),
    "what a function hands on": (changed(*NET, value={"class_path": "my_net.build", "init_args": {
                                     "clases": 2}}), "init_args", "'clases'", "'classes'"),
    "what a function settles itself": (changed(*NET, value={"class_path": "my_net.build",
                                           "init_args": {"classes": 2, "width": 4}}),
                                       "generator.init_args", "'width'", "depth, classes"),
    "what a method takes": (changed(*NET, value={"class_path": "my_net.MyNet.narrow", "init_args": {
                                "classes": 2, "detph": 4}}), "init_args", "'detph'", "'depth'"),
    "a method by another name": (changed(*NET, value={"class_path": "my_net.Other.narrow",
                                     "init_args": {"clases": 2}}), "init_args", "'clases'",
                                 "'classes'"),
    "what nobody looks at": (changed(*NET, value={"class_path": "my_net.deaf", "init_args": {
                                 "classes": 2, "width": 4}}), "init_args", "'width'", "classes"),
    "a slip in open arguments": (changed(*NET, value={"class_path": "my_net.choosy", "init_args": {
                                     "clases": 2}}), "init_args", "'clases'", "'classes'"),
    "an argument of smp": (changed(*NET, value={"class_path": "segmentation_models_pytorch.Unet",
                               "init_args": {"encoder_nam": "resnet18"}}),
                           "generator.init_args", "'encoder_nam'", "'encoder_name'"),
    "an argument of torchvision": (changed(*NET, value={
                                       "class_path": "torchvision.models.segmentation.fcn_resnet50",
                                       "init_args": {"num_clases": 2}}),
                                   "generator.init_args", "'num_clases'", "'num_classes'"),
    "arguments as a list": (changed(*NET, "init_args", value=[4]), "init_args", "[4]", "a mapping"),
    "a network beside its arguments": (changed("model", "generator", value=GENERATOR),
                                       "model", "'generator'", "below model.init_args"),
    "a value that is not known": (changed(*NET, "init_args", "classes", value="$class"),
                                  "init_args.classes", "'$class'", "did you mean '$classes'"),
    "an argument of the Trainer": (changed("trainer", "max_epoch", value=3),
                                   "trainer", "'max_epoch'", "did you mean 'max_epochs'"),
    "no epochs": (changed("trainer", "max_epochs", value=-1),
                  "trainer.max_epochs", "-1", "at least 1"),
    "epochs in words": (changed("trainer", "max_epochs", value="ten"),
                        "trainer.max_epochs", "'ten'", "a whole number"),
    "a precision": (changed("trainer", "precision", value="17"), "precision", "'17'", "bf16-mixed"),
    "float16": (changed("trainer", "precision", value="16-mixed"),
                "mine.yaml: trainer.precision", "'16-mixed': float16 overflows", "bf16-mixed"),
    "float16 as a number": (changed("trainer", "precision", value=16),
                            "trainer.precision", "16: float16 overflows", "bf16-mixed"),
    "a callback": (changed("trainer", "callbacks", value=[
                       {"class_path": "pytorch_lightning.callbacks.EarlyStoping"}]),
                   "trainer.callbacks[0].class_path", "EarlyStoping", "'EarlyStopping'"),
    "a callback's argument": (changed("trainer", "callbacks", value=[
                                  {"class_path": "pytorch_lightning.callbacks.EarlyStopping",
                                   "init_args": {"monitr": "val/loss"}}]),
                              "trainer.callbacks[0].init_args", "'monitr'", "'monitor'"),
    "an optimiser": (changed(*OPTIMISER, "class_path", value="torch.optim.Adm"),
                     "generator_optimizer.class_path", "'Adm'", "did you mean 'Adam'"),
    "an argument of the optimiser": (changed(*OPTIMISER, "init_args", "weight_decai", value=0),
                                     "generator_optimizer.init_args", "'weight_decai'",
                                     "did you mean 'weight_decay'"),
    "a negative learning rate": (changed(*OPTIMISER, "init_args", "lr", value=-1),
                                 "generator_optimizer.init_args.lr", "-1", "at least 0"),
    "an optimiser's short name": (changed(*ARGUMENTS, "optimizer", value={}),
                                  "model.init_args", "'optimizer'", "'generator_optimizer'"),
    "a scheduler for an optimiser": (changed(*OPTIMISER, value={
                                         "class_path": "torch.optim.lr_scheduler.StepLR"}),
                                     "generator_optimizer.class_path", "StepLR", "Optimizer"),
    "a scheduler without its period": (changed(*ARGUMENTS, "generator_scheduler", value={
                                           "class_path": "torch.optim.lr_scheduler.StepLR"}),
                                       "generator_scheduler.init_args", "'step_size'", "StepLR"),
    "a loss": (changed(*ARGUMENTS, "loss", value="lightning_modules.losses.DiceCrossEntrop"),
               "model.init_args.loss", "DiceCrossEntrop", "'DiceCrossEntropy'"),
    "an objective that is a loss": (changed(*ARGUMENTS, "objective",
                                            value={"class_path": "lightning_modules.losses.L1"}),
                                    "objective.class_path", "L1", "AdversarialObjective"),
    "an activation": (changed(*ARGUMENTS, "activation", value="sofmax"),
                      "model.init_args.activation", "'sofmax'", "softmax, sigmoid, tanh"),
    "channels against the activation": (changed("structures", value=["lungs"]),
                                        "structures", "softmax needs", "activation"),
    "a channel": (changed("structures", value=["background", "lung"]),
                  "structures[1]", "'lung'", "lungs, left_lung"),
    "a channel twice": (changed("structures", value=["background", "lungs", "lungs"]),
                        "structures", "'lungs', 'lungs'", "once"),
    "hearts of Montgomery": (changed("structures", value=["background", "lungs", "heart"]),
                             "system mine", "heart", "lungs"),
    "a key": (changed("batchsize", value=4),
              "mine.yaml", "'batchsize'", "did you mean 'batch_size'"),
    "a key of the preprocessing": (changed("preprocessing", "sise", value=64),
                                   "preprocessing", "'sise'", "did you mean 'size'"),
    "a negative size": (changed("preprocessing", "size", value=-64),
                        "preprocessing.size", "-64", "at least 8"),
    "an equalisation": (changed("preprocessing", "clahe", value="before"),
                        "preprocessing.clahe", "'before'", "before_resize"),
    "an empty window": (changed("preprocessing", "hu_window", value=[400, -1000]),
                        "hu_window", "400", "lower"),
    "a pair of one": (changed("preprocessing", "value_range", value=[0]),
                      "preprocessing.value_range", "[0]", "a list"),
    "a probability": (changed("augmentation", "flip", value=2), "augmentation.flip", "2", "most 1"),
    "a clip of Lightning's": (changed("trainer", "gradient_clip_val", value=1),
                              "trainer.gradient_clip_val", "1", "model.init_args.clip_norm"),
    "a part of the test": (changed("trainer", "limit_test_batches", value=1),
                           "trainer.limit_test_batches", "1", "1.0"),
    "a run to try": (changed("trainer", "fast_dev_run", value=True),
                     "trainer.fast_dev_run", "true", "limit_train_batches"),
    "an end in mid-epoch": (changed("trainer", "max_steps", value=5),
                            "trainer.max_steps", "5", "limit_train_batches"),
    "an end by the clock": (changed("trainer", "max_time", value="00:00:10:00"),
                            "trainer.max_time", "00:00:10:00", "--cell-timeout"),
    "no checkpoint": (changed("trainer", "enable_checkpointing", value=False),
                      "trainer.enable_checkpointing", "false", "leave it out"),
    "no validation": (changed("trainer", value={"max_epochs": 2, "check_val_every_n_epoch": 3}),
                      "trainer.check_val_every_n_epoch", "no epoch is validated", "at most 2"),
    "overrides of a protocol that is none": (
        changed("protocol_overrides", value={"m_to_x": {"batch_size": 4}}),
        "protocol_overrides", "'m_to_x'", "'m_to_s'"),
    "an empty batch": (changed("batch_size", value=0), "batch_size", "0", "at least 1"),
    "a batch in words": (changed("batch_size", value="four"), "batch_size", "'four'", "number"),
    "a batch that is true": (changed("batch_size", value=True), "batch_size", "true", "number"),
    "a checkpoint": (changed("checkpoint", value="first"), "checkpoint", "'first'", "best, last"),
    "an option of the data": (changed("data", "worker", value=2), "data", "'worker'", "'workers'"),
    "no module": (changed("model", value=None), "model", "null", "a mapping"),
    "a module as a list": (changed("model", value=[1]), "model", "[1]", "a mapping"),
    "a module that trains nothing": (changed("model", "class_path", value="torch.nn.Conv2d"),
                                     "model.class_path", "torch.nn.Conv2d", "Segmenter"),
    "a number to extend": (changed("extends", value=5), "extends", "5", "text"),
    "a system to extend": (changed("extends", value="unett"), "extends", "'unett'", "'unet'"),
    "itself": (changed("extends", value="mine"), "mine.yaml", "extends itself", "extends"),
    "a name that leaves the folder": (changed("name", value="../q"), "name", "'../q'", "letters"),
    "a name with a line": (changed("name", value="a\nb"), "name", r"'a\nb'", "letters"),
    "a name of a dot": (changed("name", value="."), "name", "'.'", "neither"),
    "a date": ("extends: unet\nbatch_size: 2020-01-01\n", "batch_size", "'2020-01-01'", "number"),
    "a key twice": ("extends: unet\nbatch_size: 2\nbatch_size: 4\n", "mine.yaml",
                    "'batch_size' twice, in lines 2 and 3", "once"),
    "a value that holds itself": ("extends: unet\nnotes: &a {b: *a}\n", "mine.yaml",
                                  "holds itself", "values that end"),
    "aliases that explode": ("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
                                 f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n"
                                 for n in range(1, 9)), "mine.yaml", "more than 100000", "by hand"),
    "a Latin-1 letter": ("extends: unet\ntitle: Gaál\n".encode("latin-1"), "mine.yaml",
                         "line 2 that is no UTF-8", "UTF-8"),
    "a tab": ("extends: unet\ntrainer:\n\tmax_epochs: 3\n", "mine.yaml", "line 3", "tab"),
    "an open bracket": ("extends: [unet\n", "mine.yaml", "no valid YAML", "line 2"),
    "a tag": ("extends: unet\ntitle: !!python/name:os.system x\n", "mine.yaml", "the tag", "plain"),
    "a set": ("extends: unet\nnotes: !!set {a, b}\n", "mine.yaml", "!!set", "plain"),
    "a key that is a list": ("extends: unet\n? [a]\n: 1\n", "mine.yaml", "line 2", "text"),
    "nothing": ("", "mine.yaml", "an empty file", "keys"),
    "a list": ("- unet\n", "mine.yaml", "no mapping", "keys"),
    "a word": ("unet\n", "mine.yaml", "'unet'", "keys"),
    "bytes": (bytes(range(256)), "mine.yaml", "line", "UTF-8"),
    "zeros": (b"\0" * 40, "mine.yaml", "no YAML text", "text"),
    "two documents": (
        "extends: unet\n---\nextends: scan\n", "mine.yaml", "no valid YAML", "line 2"),
    "brackets without end": ("[" * 20_000, "mine.yaml", "nested too deep", "levels"),
}  # fmt: skip

SUITES = {
    "a word for systems": ({"systems": "unet"}, "systems", "'unet'", "a list, such as [unet]"),
    "a system": ({"systems": ["unett"]}, "systems", "'unett'", "did you mean 'unet'"),
    "no system": ({"systems": []}, "systems", "an empty list", "a system"),
    "a system's file": ({"systems": ["min.yaml"]}, "min.yaml", "no such file", "'mine.yaml'"),
    "a number for protocols": ({"protocols": 5}, "protocols", "5", "a list"),
    "a protocol": ({"protocols": ["m_too_s"]}, "protocols", "'m_too_s'", "did you mean 'm_to_s'"),
    "no protocol": ({"protocols": []}, "protocols", "[]", "a list"),
    "a number for seeds": ({"seeds": 3}, "seeds", "3", "a list, such as [3]"),
    "a word for seeds": ({"seeds": "ten"}, "seeds", "'ten'", "a list, each entry a whole number"),
    "a negative seed": ({"seeds": [-1]}, "seeds[0]", "-1", "at least 0"),
    "half a seed": ({"seeds": [0.5]}, "seeds[0]", "0.5", "a whole number"),
    "a seed twice": ({"seeds": [1, 1]}, "seeds", "1 twice", "once"),
    "a key": ({"seed": [1]}, "my_suite.yaml", "'seed'", "did you mean 'seeds'"),
    "a list of overrides": ({"overrides": [1]}, "overrides", "[1]", "a mapping"),
    "an override": ({"overrides": {"preprocessing.sise": 64}}, "overrides", "'sise'", "'size'"),
    "an override's range": ({"overrides": {"preprocessing.size": -64}},
                            "overrides: preprocessing.size", "-64", "at least 8"),
    "an override of the name": ({"overrides": {"name": "../q"}}, "overrides name", "a change",
                                "extends"),
    "overrides of another system": ({"system_overrides": {"uunet": {"batch_size": 2}}},
                                    "system_overrides", "'uunet'", "did you mean 'unet'"),
    "a system's override": ({"system_overrides": {"unet": {"batch_size": 0}}},
                            "system_overrides.unet: batch_size", "0", "at least 1"),
    "a protocol's override": ({"protocol_overrides": {"m_to_s": {"trainer.max_epochs": 0}}},
                              "protocol_overrides.m_to_s: trainer.max_epochs", "0", "at least 1"),
    "a system's protocols": ({"system_protocols": {"unet": "m_to_s"}},
                             "system_protocols.unet", "'m_to_s'", "a list"),
    "its name": ({"name": "a b"}, "name", "'a b'", "letters"),
    "half a set of pairs": ({"base": "unet"}, "my_suite.yaml", "no key 'critics'", "generators"),
    "a pair's name": ({"base": "unet", "generators": {"a/b": GENERATOR}, "critics": {"none": None}},
                      "generators", "'a/b'", "letters"),
}  # fmt: skip

PROTOCOLS = {
    "a word for train": ({"train": "montgomery"}, "train", "'montgomery'", "[montgomery]"),
    "a data set": ({"train": ["montgomry"]}, "train", "'montgomry'", "did you mean 'montgomery'"),
    "a data set's file": ({"train": ["film.yaml"]}, "train", "'film.yaml'", "'films.yaml'"),
    "no test": ({"test": []}, "test", "[]", "a list"),
    "a key": ({"held_outt": 0.2}, "mine.yaml", "'held_outt'", "did you mean 'held_out'"),
    "a negative share": ({"validation": -0.1}, "validation", "-0.1", "at least 0"),
    "a share in words": ({"validation": "ten"}, "validation", "'ten'", "a number"),
    "sets on both sides": ({"test": ["montgomery"]}, "train and test", "montgomery", "held_out"),
    "slices": ({"slices": "lungs"}, "slices", "'lungs'", "all, lung"),
    "folds": ({"folds": "src"}, "folds", "'src'", "scr"),
    "an own set's key": ({"train": ["films.yaml"]}, "films.yaml", "'imags'", "'images'"),
}  # fmt: skip

CHANGES = {
    "no value": (["nonsense"], "--set nonsense", "no '='", "key=value"),
    "no key": (["=3"], "--set =3", "no key", "key=value"),
    "a key": (["nonsense=1"], "--set", "'nonsense'", "one of"),
    "an open bracket": (["a=["], "--set a=[", "no valid YAML", "line 1"),
    "a batch": (["batch_size=0"], "--set: batch_size", "0", "at least 1"),
    "a key of a number": (["batch_size.a=0"], "--set batch_size.a", "no mapping", "key"),
    "a Trainer's argument": (
        ["trainer.max_epoch=3"], "--set: trainer", "'max_epoch'", "'max_epochs'"),
    "a name": (["name=../../q"], "--set name", "a change", "extends"),
    "no module": (["model=~"], "--set: model", "null", "a mapping"),
    "a class": (["model.init_args.generator.class_path?=my_net.N"], "--set", "my_net", "module"),
}  # fmt: skip


@pytest.fixture
def planning(tmp_path, monkeypatch, capsys):
    """Return a function that plans, and asserts that nothing was written; it gives the message."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.py").write_text(NETWORK)

    def plan(*arguments):
        before = sorted(tmp_path.rglob("*"))
        started = time.process_time()
        code = main(["plan", "--runs", "runs", *arguments])
        spent = time.process_time() - started
        told = capsys.readouterr()
        assert code == 2, told.out
        assert sorted(tmp_path.rglob("*")) == before
        assert spent < 5, "seconds of one free core"
        assert told.out == "" and "Traceback" not in told.err and len(told.err.splitlines()) == 1
        return told.err

    return plan


def assert_told(message, parts):
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(("text", *"abc"), SYSTEMS.values(), ids=SYSTEMS)
def test_a_faulty_system_is_named_with_its_key(text, a, b, c, planning, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "my_suite.yaml").write_text("systems: [unet]\nprotocols: [m_to_s]\n")
    message = planning("--suite", "my_suite.yaml", "--with", "mine.yaml")
    assert_told(message, (a, b, c))
    assert "mine" in message


@pytest.mark.parametrize(("settings", *"abc"), SUITES.values(), ids=SUITES)
def test_a_faulty_suite_is_named_with_its_key(settings, a, b, c, planning, tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SOUND))
    suite = {"systems": ["unet"], "protocols": ["m_to_s"], **settings}
    (tmp_path / "my_suite.yaml").write_text(yaml.safe_dump(suite))
    assert_told(planning("--suite", "my_suite.yaml"), (a, b, c))


@pytest.mark.parametrize(("settings", *"abc"), PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_faulty_protocol_is_named_with_its_key(settings, a, b, c, planning, tmp_path):
    (tmp_path / "films.yaml").write_text("imags: films\nmasks: masks\n")
    protocol = {"train": ["montgomery"], "test": ["shenzhen"], **settings}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(protocol))
    (tmp_path / "my_suite.yaml").write_text("systems: [unet]\nprotocols: [mine.yaml]\n")
    message = planning("--suite", "my_suite.yaml")
    assert_told(message, (a, b, c))
    assert "mine.yaml" in message or "films.yaml" in message


@pytest.mark.parametrize(("changes", *"abc"), CHANGES.values(), ids=CHANGES)
def test_a_faulty_change_is_named_with_its_key(changes, a, b, c, planning):
    assert_told(planning("--suite", "smoke", "--set", *changes), (a, b, c))


def test_a_fault_in_an_extended_file_is_told_of_that_file(planning, tmp_path):
    (tmp_path / "below.yaml").write_text(changed("trainer", "max_epoch", value=3))
    (tmp_path / "mine.yaml").write_text("extends: below\nbatch_size: 4\n")
    message = planning("--suite", "smoke", "--with", "mine.yaml")
    assert_told(message, (f"{tmp_path / 'below.yaml'}: trainer", "'max_epoch'"))


def test_folders_and_files_that_are_not_there_are_no_yaml(planning, tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    assert "a folder" in planning("--with", "folder.yaml")
    assert "did you mean 'folder.yaml'" in planning("--with", "foldr.yaml")
    assert "did you mean 'smoke'" in planning("--suite", "smoek")


def test_a_network_whose_module_cannot_be_imported_is_refused(planning, tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SOUND))
    (tmp_path / "my_net.py").write_text("import not_installed\n" + NETWORK)
    assert "'not_installed'" in planning("--with", "mine.yaml")
    (tmp_path / "my_net.py").write_text("class MyNet(:\n")
    assert "no valid Python in line 1" in planning("--with", "mine.yaml")


def test_every_system_that_comes_with_the_benchmark_is_sound(tmp_path):
    for suite in known_names("suites"):
        make_plan(suite, tmp_path / "runs", tmp_path / "no data")


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        ("my_net.Wrapped", {"classes": 2, "width": 8}),
        ("my_net.build", {"classes": 2, "depth": 3}),
        ("my_net.choosy", {"classes": 2, "old_width": 4}),
        ("segmentation_models_pytorch.Unet", {"classes": 2, "decoder_use_batchnorm": True}),
        ("torchvision.models.segmentation.lraspp_mobilenet_v3_large",
         {"weights": None, "weights_backbone": None, "num_classes": 2}),
        ("torchvision.models.segmentation.fcn_resnet50", {"pretrained": False}),
    ],
)  # fmt: skip
def test_what_a_function_hands_on_or_looks_for_is_no_fault(
    network, arguments, tmp_path, phantom_root, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.py").write_text(NETWORK)
    value = {"class_path": network, "init_args": arguments}
    (tmp_path / "mine.yaml").write_text(changed(*NET, value=value))
    (tmp_path / "my_suite.yaml").write_text("systems: [mine.yaml]\nprotocols: [m_to_s]\n")
    asked = ["plan", "--suite", "my_suite.yaml", "--data-root", str(phantom_root)]
    assert main(asked) == 0, capsys.readouterr().err


def test_a_sound_network_of_ones_own_is_planned_without_importing_it(
    tmp_path, phantom_root, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.py").write_text(NETWORK + "raise SystemExit('imported')\n")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SOUND))
    suite = tmp_path / "my_suite.yaml"
    suite.write_text("systems: [mine.yaml]\nprotocols: [m_to_s]\n")
    arguments = ["--suite", str(suite), "--runs", "runs", "--data-root", str(phantom_root)]
    assert main(["plan", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["system"] == "mine"


def test_one_systems_fault_stops_no_other_where_that_is_asked_for(
    tmp_path, phantom_root, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(changed("trainer", "max_epoch", value=3))
    suite = tmp_path / "my_suite.yaml"
    suite.write_text(
        yaml.safe_dump(
            {"systems": ["mean_shape"], "protocols": ["m_to_s"],
             "overrides": {"preprocessing.size": 32}}
        )
    )  # fmt: skip
    arguments = ["--suite", str(suite), "--runs", "runs", "--data-root", str(phantom_root)]
    arguments += ["--with", "mine.yaml"]
    assert main(["run", *arguments]) == 2
    assert not (tmp_path / "runs").exists()
    assert main(["plan", *arguments, "--keep-going", "--json"]) == 2
    told = capsys.readouterr()
    assert [cell["system"] for cell in json.loads(told.out)] == ["mean_shape"]
    assert "mine is left out" in told.err and "'max_epoch'" in told.err
    assert main(["run", *arguments, "--keep-going", "--launcher", "local"]) == 1
    told = capsys.readouterr().out
    assert "1 done" in told and "mine: left out, its configuration is faulty" in told
    assert (tmp_path / "runs" / "my_suite" / "leaderboard" / "leaderboard.html").is_file()


def test_a_critic_that_no_epoch_is_left_to_is_a_fault_of_the_systems_that_are_meant(
    planning, tmp_path, phantom_root, capsys
):
    (tmp_path / "my_suite.yaml").write_text(
        "systems: [adversarial_attention_unet, mean_shape]\nprotocols: [m_to_s]\n"
    )
    arguments = ["--suite", "my_suite.yaml", "--set", "model.init_args.pretrain_epochs?=2",
                 "trainer.max_epochs=2"]  # fmt: skip
    message = planning(*arguments)
    assert_told(message, ("adversarial_attention_unet", "no epoch in which the critic", "$half"))
    one = ["--systems", "mean_shape", "--runs", "runs", "--data-root", str(phantom_root)]
    assert main(["plan", *arguments, *one]) == 0
    assert "adversarial_attention_unet m_to_s is left out" in capsys.readouterr().err


def test_a_faulty_system_that_nobody_asked_for_is_a_notice(tmp_path, capsys):
    given = ["plan", "--suite", "smoke", "--runs", str(tmp_path), "--protocols", "m_to_s"]
    given += ["--set", "model.init_args.generator.init_args.widths=[8,16]"]
    assert main([*given, "--systems", "mean_shape"]) == 2  # which has no generator
    assert "MeanShape has no such argument" in capsys.readouterr().err
    assert main([*given, "--systems", "unet", "--json"]) == 0
    told = capsys.readouterr()
    assert [cell["system"] for cell in json.loads(told.out)] == ["unet"]
    assert "mean_shape is left out" in told.err and "nobody asked for it" in told.err
