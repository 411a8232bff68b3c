import copy
import functools
import importlib
import importlib.metadata
import io
import operator
import subprocess
import sys
import threading
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from transfer_utils import backbones
from transfer_utils.backbones import StagedModel, freeze, hold_statistics
from transfer_utils.training import fingerprints
from transfer_utils.training.fingerprints import fingerprint

IMAGES = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
CPU = torch.device("cpu")

INSTALLED = '''
import functools
import torch
from torch import nn
from transfer_utils.backbones import StagedModel

def double(x):
    return 2 * x

def twice(x):
    return x + x

class Config:
    def __init__(self, kind):
        self.kind = kind

class Marked(torch.Tensor):
    mark = None

class Layer(nn.Module):
    """Whatever it holds acts in its forward."""
    def __init__(self, held=None):
        super().__init__()
        self.thing = held
    def forward(self, x):
        return x
    def helper(self, x):
        return x

class Darker(StagedModel):
    def preprocess(self, photos):
        return super().preprocess(photos) / 2

class Scaled(StagedModel):
    scale = 3.0
    def preprocess(self, photos):
        return super().preprocess(photos) / self.scale
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A module in an installed package, whose distribution is called otherwise: a-package 1.0."""
    place = tmp_path / "site-packages"
    about = place / "a_package-1.0.dist-info"
    about.mkdir(parents=True)
    (place / "installed_layers.py").write_text(INSTALLED)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: a-package\nVersion: 1.0\n")
    (about / "top_level.txt").write_text("installed_layers\n")
    monkeypatch.syspath_prepend(place)
    fingerprints._distributions.cache_clear()
    yield importlib.import_module("installed_layers")
    del sys.modules["installed_layers"]
    fingerprints._distributions.cache_clear()


def key(model: StagedModel, *how, images: torch.Tensor = IMAGES) -> str | None:
    return fingerprint(model, model.split(after=model.stages[-2])[0], images, CPU, *how)


def with_layer(model: StagedModel, layer: nn.Module) -> StagedModel:
    model.stem.append(layer)
    return model


# --- what acts ----------------------------------------------------------------------------------------------------

VALUES = {
    "a flag": (True, False),
    "a number": (2, 3),
    "a scale": (0.5, 0.25),
    "a number and a float": (1, 1.0),
    "a pooling kind": ("avg", "max"),
    "nothing": (None, 0),
    "a size": ((7, 7), (7, 8)),
    "a list and a tuple": ([1, 2], (1, 2)),
    "a dict": ({"k": [1, 2]}, {"k": [1, 3]}),
    "a function": (F.relu, F.gelu),
    "a function of C": (torch.relu, torch.tanh),
    "an operator": (operator.add, operator.mul),
    "a partial function": (functools.partial(F.softmax, dim=1), functools.partial(F.softmax, dim=2)),
    "a class": (nn.ReLU, nn.GELU),
    "a torch type": (torch.float32, torch.bfloat16),
    "a torch size": (torch.Size([1]), torch.Size([2])),
    "a tensor": (torch.zeros(2), torch.ones(2)),
    "a tensor's type": (torch.zeros(2), torch.zeros(2).bfloat16()),
    "tensors in a list": ([torch.zeros(2)], [torch.zeros(3)]),
    "an array": (np.zeros(3), np.ones(3)),
    "layers in a list": ([nn.Conv2d(1, 1, 3)], [nn.Conv2d(1, 1, 3, dilation=2)]),
    "a layer": (nn.ReLU(), nn.Sigmoid()),
    "weights in hidden layers": ([nn.PReLU(init=0.1)], [nn.PReLU(init=0.2)]),
}


@pytest.mark.parametrize(("one", "other"), VALUES.values(), ids=VALUES)
def test_an_attribute_changes_the_key(tiny, installed, one, other):
    keys = [key(with_layer(tiny(), installed.Layer(value))) for value in (one, copy.deepcopy(one), other)]
    assert None not in keys
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(("one", "other"), [
    (lambda code: code.double, lambda code: code.twice),
    (lambda code: code.Config("a"), lambda code: code.Config("b")),
    (lambda code: [code.Layer(1)], lambda code: [code.Layer(2)]),
    (lambda code: code.Layer(1).helper, lambda code: code.Layer(2).helper),
    (lambda code: functools.partial(code.double), lambda code: functools.partial(code.twice)),
])  # fmt: skip
def test_an_attribute_of_a_package_changes_the_key(tiny, installed, one, other):
    keys = [key(with_layer(tiny(), installed.Layer(make(installed)))) for make in (one, one, other)]
    assert None not in keys
    assert keys[0] == keys[1] != keys[2]


def cast(module: nn.Module, dtype: torch.dtype) -> None:
    module.to(dtype)


def set_buffer(module: nn.Module, tensor: torch.Tensor, persistent: bool) -> None:
    module.register_buffer("extra", tensor, persistent=persistent)


CHANGES = {
    "a weight": lambda model: model.stem[0].weight.data[0, 0, 0, 0].add_(1e-4),
    "a statistic": lambda model: model.body[1].running_mean[3].add_(1e-4),
    "a buffer that is not saved": lambda model: set_buffer(model.stem[2], torch.ones(1), persistent=False),
    "its value": lambda model: set_buffer(model.stem[2], torch.zeros(1), persistent=False),
    "a buffer in bfloat16": lambda model: set_buffer(model.stem[2], torch.ones(1).bfloat16(), persistent=False),
    "a buffer in float8": lambda model: set_buffer(model.stem[2], torch.ones(1).to(torch.float8_e5m2), persistent=True),
    "a complex buffer": lambda model: set_buffer(model.stem[2], torch.ones(1, dtype=torch.cfloat), persistent=True),
    "another shape": lambda model: set_buffer(model.stem[2], torch.ones(1, 1), persistent=True),
    "bfloat16": lambda model: cast(model.body, torch.bfloat16),
    "float64": lambda model: cast(model.body, torch.float64),
    "float16": lambda model: cast(model.body, torch.float16),
    "an activation": lambda model: model.stem.__setitem__(2, nn.Hardtanh(0, 1)),
    "an activation without settings": lambda model: model.stem.__setitem__(2, nn.Sigmoid()),
    "an eps": lambda model: setattr(model.stem[1], "eps", 1e-3),
    "a stride": lambda model: setattr(model.stem[0], "stride", (1, 1)),
    "a padding": lambda model: setattr(model.stem[0], "padding_mode", "circular"),
    "a layer less": lambda model: model.stem.pop(2),
    "a layer more": lambda model: model.stem.append(nn.Identity()),
    "layers in another order": lambda model: model.stem.insert(0, model.stem.pop(2)),
    "no bias": lambda model: setattr(model.body[1], "bias", None),
    "the mean": lambda model: model.mean.add_(0.1),
    "the deviation": lambda model: model.std.mul_(2),
    "an attribute of the model": lambda model: setattr(model, "scale", 2),
}


def test_what_acts_changes_the_key(tiny):
    keys = {"nothing": key(tiny())}
    for name, change in CHANGES.items():
        model = tiny()
        change(model)
        keys[name] = key(model)
    assert None not in keys.values()
    assert len(set(keys.values())) == len(keys), keys


@pytest.mark.parametrize("images", [IMAGES[:1], IMAGES + 1, IMAGES.int(), IMAGES.view(2, 3, 4, 16)])
def test_photos_change_the_key(tiny, images):
    assert key(tiny(), images=images) not in (None, key(tiny()))


@pytest.mark.parametrize("how", [("a",), ("b",), ("a", 1), (1, "a"), (torch.float16,)])
def test_what_the_caller_does_changes_the_key(tiny, how):
    assert len({key(tiny(), *other) for other in ((), how, ("c",))}) == 3


def test_the_device_changes_the_key(tiny):
    model = tiny()
    prefix, _ = model.split("pool")
    keys = {fingerprint(model, prefix, IMAGES, torch.device(kind)) for kind in ("cpu", "cuda", "xpu", "mps")}
    assert None not in keys
    assert len(keys) == 4


@pytest.mark.parametrize("package", ["torch", "torchvision", "timm", "transfer_utils", "a-package"])
def test_versions_change_the_key(tiny, installed, monkeypatch, package):
    model, version = with_layer(tiny(), installed.Layer()), importlib.metadata.version
    before = key(model)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9" if name == package else version(name))
    assert key(model) not in (None, before)


def test_our_own_code_changes_the_key(tiny, monkeypatch):
    before = key(tiny())
    monkeypatch.setattr(fingerprints, "OUR_CODE", b"edited in a clone")
    assert key(tiny()) not in (None, before)


def in_autocast(model: StagedModel) -> str | None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return key(model)


def in_half_autocast(model: StagedModel) -> str | None:
    with torch.autocast("cpu", dtype=torch.float16):
        return key(model)


def with_default(dtype: torch.dtype):
    def ask(model: StagedModel) -> str | None:
        torch.set_default_dtype(dtype)
        try:
            return key(model)
        finally:
            torch.set_default_dtype(torch.float32)

    return ask


def with_precision(precision: str):
    def ask(model: StagedModel) -> str | None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        try:
            return key(model)
        finally:
            torch.set_float32_matmul_precision(before)

    return ask


def without_tf32(model: StagedModel) -> str | None:
    with torch.backends.cudnn.flags(allow_tf32=not torch.backends.cudnn.allow_tf32):
        return key(model)


def with_short_convolutions(model: StagedModel) -> str | None:
    switch = getattr(torch.backends.mkldnn, "conv", None)
    if switch is None:
        return "this torch has no such switch"
    before, switch.fp32_precision = switch.fp32_precision, "bf16"
    try:
        return key(model)
    finally:
        switch.fp32_precision = before


def test_switches_of_torch_change_the_key(tiny):
    asked = [key, in_autocast, in_half_autocast, *map(with_default, (torch.float64, torch.bfloat16))]
    asked += [*map(with_precision, ("high", "medium")), without_tf32, with_short_convolutions]
    keys = [ask(tiny()) for ask in asked]
    assert None not in keys
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("kind", ["Darker", "Scaled"])
def test_preprocessing_changes_the_key(tiny, installed, kind):
    def rebuilt(kind: type, **attributes) -> str | None:
        model = kind(OrderedDict(tiny()._modules), mean=(0.5,) * 3, std=(0.25,) * 3, name="tiny")
        vars(model).update(attributes)
        return key(model)

    keys = [rebuilt(StagedModel), rebuilt(getattr(installed, kind)), rebuilt(getattr(installed, kind), scale=4.0)]
    assert None not in keys
    assert len(set(keys)) == 3


# --- what does not act --------------------------------------------------------------------------------------------


def reloaded(model: StagedModel) -> StagedModel:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def after_a_step(model: StagedModel) -> StagedModel:
    """A hook that is gone, a gradient, and modes that were switched."""
    model.body.register_forward_hook(lambda *_: None).remove()
    model.eval()(torch.randn(2, 3, 8, 8)).sum().backward()
    return model.train()


SAME = {
    "eval": lambda model: model.eval(),
    "some in eval": lambda model: model.body.eval() and model,
    "frozen": lambda model: freeze(model, "stem"),
    "frozen and let go": lambda model: freeze(freeze(model, "body"), None),
    "held statistics": hold_statistics,
    "no gradients": lambda model: model.requires_grad_(False),
    "after a step": after_a_step,
    "a new head": lambda model: model.new_head(5),
    "another name": lambda model: vars(model).update(name="other") or model,
    "a card": lambda model: vars(model).update(card={"by": lambda: "us"}) or model,
    "channels last": lambda model: model.to(memory_format=torch.channels_last),
    "a copy": copy.deepcopy,
    "loaded": reloaded,
}


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
def test_what_does_not_act_leaves_the_key(tiny, same):
    assert key(same(tiny())) == key(tiny()) is not None


BACKBONES = [
    *("course_resnet/both", "efficientnet_lite0", "resnet18", "resnet50", "timm/resnet18", "timm/convnext_atto"),
    *("timm/vit_tiny_patch16_224", "timm/efficientnet_b0", "timm/mobilenetv3_small_100"),
]


def backbone_keys() -> list[str]:
    """The keys of all backbones, with weights that are the same in every process."""
    found = []
    for name in BACKBONES:
        torch.manual_seed(0)
        found.append(str(key(backbones.load_backbone(name, pretrained=False))))
    return found


@pytest.mark.slow
def test_another_process_has_the_same_keys():
    code = "import test_fingerprints; print(*test_fingerprints.backbone_keys())"
    path = [str(Path(__file__).parent), *sys.path]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {path}; {code}"]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert other == backbone_keys()
    assert "None" not in other
    assert len(set(other)) == len(BACKBONES)


# --- what nobody can tell -----------------------------------------------------------------------------------------


class Mine(nn.ReLU):
    """Of a test, which is a script: its code may change while its name stays."""


class MyModel(StagedModel):
    pass


class MyConfig:
    pass


def my_function(x):
    return x


@functools.wraps(F.relu)
def my_relu(x):
    return -x


class WithLock:
    def __init__(self):
        self.lock = threading.Lock()


def raises(*_):
    raise ZeroDivisionError("in somebody's __reduce__")


class Sparse(torch.Tensor):
    pass


ATTRIBUTES = {
    "a lambda": lambda: lambda x: x,
    "my function": lambda: my_function,
    "my function in a list": lambda: [{"act": my_function}],
    "my function in a partial one": lambda: functools.partial(my_function, x=1),
    "my function under another's name": lambda: my_relu,
    "a compiled function": lambda: torch.compile(F.relu),
    "a method that was put there": lambda: types.MethodType(my_function, 3),
    "my class": lambda: MyConfig,
    "an instance of it": MyConfig,
    "a lock": threading.Lock,
    "a lock in something": WithLock,
    "a generator": lambda: (i for i in range(3)),
    "an open file": lambda: io.FileIO(__file__),
    "a tensor of a class of its own": lambda: torch.zeros(2).as_subclass(Sparse),
    "a sparse tensor": lambda: torch.eye(3).to_sparse(),
    "a quantised tensor": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "a quantised layer": lambda: torch.ao.nn.quantized.Conv2d(8, 8, 3),
    "a tensor without values": lambda: torch.zeros(3, device="meta"),
    "my layer": Mine,
    "my layer in a list": lambda: [Mine()],
    "a layer with a hook in a list": lambda: [hooked(nn.ReLU())],
    "what raises": lambda: type("Raises", (), {"__reduce__": raises, "__module__": "torch"})(),
}


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda *_: None)
    return module


@pytest.mark.filterwarnings("ignore:.*quantize")
@pytest.mark.parametrize("make", ATTRIBUTES.values(), ids=ATTRIBUTES)
@pytest.mark.parametrize("place", ["layer", "torch's layer", "model"])
def test_with_such_an_attribute_there_is_no_key(tiny, installed, make, place):
    model, thing = tiny(), make()
    if place == "layer":
        with_layer(model, installed.Layer(thing))
    else:  # not with setattr, for which a layer is another stage
        vars(model if place == "model" else model.body[0])["thing"] = thing
    assert key(model) is None


@pytest.mark.parametrize("wrap", [lambda x: x, nn.Parameter, lambda x: [x], lambda x: {"a": (x,)}])
def test_with_a_tensor_that_may_hold_more_there_is_no_key(tiny, installed, wrap):
    marked = wrap(torch.zeros(2).as_subclass(installed.Marked))
    assert key(with_layer(tiny(), installed.Layer(marked))) is None


def itself(model: StagedModel) -> None:
    vars(model.stem[2])["parent"] = model.stem


def compiled(model: StagedModel) -> None:
    model.body = torch.compile(model.body)


def scripted(model: StagedModel) -> None:
    model.body = torch.jit.script(model.body)


def traced(model: StagedModel) -> None:
    model.body = torch.jit.trace(model.eval().body, torch.zeros(1, 8, 8, 8))


def traced_by_fx(model: StagedModel) -> None:
    model.body = torch.fx.symbolic_trace(model.body)


UNKNOWN = {
    "forward hook": lambda model: model.stem.register_forward_hook(my_function),
    "pre-hook": lambda model: model.body[0].register_forward_pre_hook(my_function),
    "hook on the head": lambda model: model.head.register_forward_hook(my_function),
    "hook on the model": lambda model: model.register_forward_pre_hook(my_function),
    "hook with keywords": lambda model: model.stem[1].register_forward_hook(my_function, with_kwargs=True),
    "forward of its own": lambda model: setattr(model.body, "forward", my_function),
    "an installed forward": lambda model: setattr(model.stem[2], "forward", F.gelu),
    "a bound forward": lambda model: setattr(model.stem[2], "forward", types.MethodType(F.gelu, model)),
    "a layer's forward": lambda model: setattr(model.stem[0], "_conv_forward", my_function),
    "preprocessing of its own": lambda model: setattr(model, "preprocess", my_function),
    "my layer": lambda model: model.stem.append(Mine()),
    "my layer deep inside": lambda model: model.body.append(nn.Sequential(nn.Sequential(Mine()))),
    "compiled": compiled,
    "compiled in place": lambda model: model.body.compile(),
    "scripted": scripted,
    "traced": traced,
    "traced by fx": traced_by_fx,
    "parametrised": lambda model: parametrizations.weight_norm(model.stem[0]),
    "lazy": lambda model: model.stem.append(nn.LazyConv2d(3, 3)),
    "part of itself": itself,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", UNKNOWN.values(), ids=UNKNOWN)
def test_where_nobody_can_tell_there_is_no_key(tiny, change):
    model = tiny()
    change(model)
    assert key(model) is None


def test_a_model_of_a_script_has_no_key(tiny):
    assert key(MyModel(OrderedDict(tiny()._modules), mean=(0.5,) * 3, std=(0.25,) * 3, name="mine")) is None


@pytest.mark.parametrize("register", [
    nn.modules.module.register_module_forward_hook,
    nn.modules.module.register_module_forward_pre_hook,
    functools.partial(nn.modules.module.register_module_forward_hook, with_kwargs=True),
    functools.partial(nn.modules.module.register_module_forward_hook, always_call=True),
])  # fmt: skip
def test_with_a_hook_on_all_modules_there_is_no_key(tiny, register):
    handle = register(lambda *_: None)
    try:
        assert key(tiny()) is None
    finally:
        handle.remove()
    assert key(tiny()) is not None


@pytest.mark.parametrize(("kind", "method"), [
    (nn.ReLU, "forward"), (nn.Conv2d, "_conv_forward"), (nn.Module, "__call__"), (StagedModel, "preprocess"),
])  # fmt: skip
@pytest.mark.parametrize("wrap", [False, True])
def test_with_a_method_replaced_there_is_no_key(tiny, monkeypatch, kind, method, wrap):
    original = getattr(kind, method)

    def mine(self, *given):
        return original(self, *given)

    before = key(tiny())
    with monkeypatch.context() as patch:
        patch.setattr(kind, method, functools.wraps(original)(mine) if wrap else mine)
        assert key(tiny()) is None
        patch.setattr(kind, method, torch.no_grad()(mine))
        assert key(tiny()) is None
    assert key(tiny()) == before is not None


@pytest.mark.parametrize("name", ["my_script", "random", "timm", "test", "__main__"])
@pytest.mark.parametrize("place", ["", "random", "lib/python3"])
def test_a_script_is_a_script_whatever_its_name(tiny, tmp_path, monkeypatch, name, place):
    script = types.ModuleType(name)
    script.__file__ = str(tmp_path / place / f"{name}.py")
    exec("from torch import nn\nclass Layer(nn.ReLU):\n    pass\n", vars(script))
    monkeypatch.setitem(sys.modules, name, script)
    assert key(with_layer(tiny(), script.Layer())) is None


def test_a_package_may_be_installed_into_any_folder(tiny, installed, monkeypatch):
    """As pip install --target does; the names of the usual folders only save a look at what is installed."""
    usual = key(with_layer(tiny(), installed.Layer()))
    monkeypatch.setattr(fingerprints, "INSTALLED", set())
    assert usual == key(with_layer(tiny(), installed.Layer())) is not None


def test_a_file_beside_the_installed_packages_is_a_script(tiny, installed, tmp_path, monkeypatch):
    (tmp_path / "site-packages" / "loose_layers.py").write_text(INSTALLED)
    loose = importlib.import_module("loose_layers")
    monkeypatch.setitem(sys.modules, "loose_layers", loose)
    assert key(with_layer(tiny(), loose.Layer())) is None
    assert key(with_layer(tiny(), installed.Layer())) is not None
