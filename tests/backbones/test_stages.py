"""A staged model knows what is frozen, whatever becomes of it: copied, saved, wrapped, or being trained."""

import copy
import gc
import io
import pickle
import sys
import threading
from collections import OrderedDict

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from torch import nn
from torch.optim.swa_utils import AveragedModel

from transfer_utils import backbones, show, training
from transfer_utils.backbones import (
    StagedModel,
    drift,
    freeze,
    hold_statistics,
    parameter_groups,
    unwrapped,
)
from transfer_utils.training import Recipe

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
QUICK = Recipe(epochs=2, rate=1e-2, batch=32)


def saved_and_loaded(model: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def in_a_checkpoint(model: nn.Module) -> nn.Module:
    """As lightning and others keep it: inside a dictionary, with the optimiser beside it."""
    optimiser = torch.optim.SGD(parameter_groups(model, 0.1))
    return saved_and_loaded({"model": model, "optimiser": optimiser.state_dict()})["model"]


ROUND_TRIPS = {
    "deepcopy": copy.deepcopy,
    "copy of a copy": lambda model: copy.deepcopy(copy.deepcopy(model)),
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "pickle, oldest protocol": lambda model: pickle.loads(pickle.dumps(model, protocol=2)),
    "torch.save": saved_and_loaded,
    "torch.save in a dictionary": in_a_checkpoint,
    "torch.save twice": lambda model: saved_and_loaded(saved_and_loaded(model)),
    "compiled, then saved": lambda model: unwrapped(saved_and_loaded(torch.compile(model, backend="eager"))),
    "wrapped, then copied": lambda model: unwrapped(copy.deepcopy(nn.DataParallel(model))),
}
WRAPPERS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "data parallel": nn.DataParallel,
    "averaged": AveragedModel,
    "compiled and parallel": lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
    "parallel and compiled": lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
}


def learn(model: nn.Module) -> None:
    """Two steps as somebody else's loop would make them."""
    model.train()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        nn.functional.cross_entropy(model(torch.randn(8, 3, 16, 16) + 1), torch.arange(8) % 2).backward()
        optimiser.step()
        optimiser.zero_grad()


def modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


# --- what is frozen stays frozen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("trip", ROUND_TRIPS)
@pytest.mark.parametrize("through", ["stem", "body", "pool"])
def test_frozen_stages_survive(tiny, trip, through):
    model = freeze(tiny(), through)
    again = ROUND_TRIPS[trip](model)
    assert again.frozen == model.frozen
    assert drift(model.state_dict(), again) == {}
    before = again.frozen_state()
    learn(again)
    assert before
    assert drift(before, again) == {}
    assert "head.weight" in drift(model.state_dict(), again)


@pytest.mark.parametrize("trip", ROUND_TRIPS)
def test_held_statistics_survive(tiny, trip):
    again = ROUND_TRIPS[trip](hold_statistics(tiny()))
    before = copy.deepcopy(again.state_dict())
    learn(again)
    moved = drift(before, again)
    assert "stem.0.weight" in moved
    assert not [name for name in moved if name.endswith(STATISTICS)]


@pytest.mark.parametrize("trip", ROUND_TRIPS)
def test_a_copy_can_be_released_alone(tiny, trip):
    model = freeze(tiny(), "body")
    again = freeze(ROUND_TRIPS[trip](model), None)
    assert (model.frozen, again.frozen) == (["stem", "body"], [])
    before = copy.deepcopy(again.state_dict())
    learn(again)
    assert "stem.1.running_mean" in drift(before, again)


@pytest.mark.parametrize(
    "switch",
    [
        lambda model: model.train(),
        lambda model: model.stem.train(),
        lambda model: model.stem[1].train(),
        lambda model: [m.train() for m in model.modules() if isinstance(m, nn.BatchNorm2d)],
        lambda model: [module.train() for module in model.modules()],
        lambda model: [setattr(module, "training", True) for module in model.modules()],
        lambda model: model.split(after="body")[0].train(),
    ],
    ids=["the model", "one stage", "one layer", "every batch-norm", "every module", "every flag", "a part"],
)
def test_whoever_switches_the_mode_statistics_of_frozen_stages_stay(tiny, switch):
    model = freeze(tiny(), "stem")
    before = model.frozen_state()
    switch(model)
    model(torch.randn(8, 3, 16, 16) + 1)
    assert drift(before, model) == {}


@pytest.mark.parametrize("through", [None, "stem", "body", "pool"])
def test_parts_in_a_row_are_the_model_bit_for_bit(tiny, through):
    model, x = freeze(tiny(), through).eval(), torch.randn(4, 3, 16, 16)
    frozen, rest = model.parts()
    assert torch.equal(rest(frozen(x)), model(x))
    assert not any(p.requires_grad for p in frozen.parameters())
    assert all(p.requires_grad for p in rest.parameters())


def test_parts_of_a_model_that_is_frozen_to_its_end_are_refused(tiny):
    with pytest.raises(ValueError, match="leaves no stage to train"):
        freeze(tiny(), "head").parts()


# --- the head is known by the model ---------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped_models_are_unwrapped(tiny, wrapper):
    model = tiny()
    wrapped = WRAPPERS[wrapper](model)
    inner = unwrapped(wrapped)
    assert freeze(wrapped, "body") is wrapped
    assert inner.frozen == ["stem", "body"]
    assert list(inner.frozen_state()) == [name for name in inner.state_dict() if name.startswith(("stem.", "body."))]
    (head,) = parameter_groups(wrapped, rate=0.1, head_ratio=10)
    assert head["lr"] == 0.1
    assert {id(p) for p in head["params"]} == {id(p) for p in inner.head.parameters()}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_model_trains_and_answers_as_the_model_itself(tiny, pairs, own_home, wrapper):
    model, wrapped = freeze(tiny(), "stem"), WRAPPERS[wrapper](freeze(tiny(), "stem"))
    histories = [training.fit(m, *pairs, 32, QUICK, progress=False) for m in (model, wrapped)]
    assert histories[0].equals(histories[1])
    assert drift(model.state_dict(), wrapped) == {}
    answers = [training.predict(m, pairs[1], 32) for m in (model, wrapped)]
    assert torch.equal(*answers)
    assert torch.equal(*(training.extract(m, pairs[1], 32) for m in (model, wrapped)))
    heat = [backbones.grad_cam(m, pairs[1].images, pairs[1].labels, "stem") for m in (model, wrapped)]
    assert torch.equal(*heat)


def test_a_compiled_model_runs_whole_and_keeps_its_promises(tiny):
    model, x = freeze(tiny(), "stem"), torch.randn(8, 3, 16, 16) + 1
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    before = model.frozen_state()
    for module in model.modules():
        module.training = True
    compiled(x)
    assert drift(before, model) == {}
    compiled.eval()
    assert torch.equal(compiled(x), model(x))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_checkpoint_of_a_wrapped_model_has_plain_names(tiny, tmp_path, wrapper):
    model = tiny()
    backbones.save_checkpoint(tmp_path / "net", WRAPPERS[wrapper](model), {})
    assert drift(model.state_dict(), backbones.load_checkpoint(tmp_path / "net", tiny(seed=1))) == {}
    again = WRAPPERS[wrapper](tiny(seed=1))
    assert drift(model.state_dict(), backbones.load_checkpoint(tmp_path / "net", again)) == {}


class Tempered(nn.Module):
    """Somebody's own wrapper: more than what it wraps, though it calls it module."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module, self.temperature = module, nn.Parameter(torch.tensor(5.0))

    def forward(self, x):
        return self.module(x) / self.temperature


def test_a_wrapper_that_adds_something_is_saved_whole_and_refused_where_stages_are_needed(tiny, tmp_path):
    model, again = Tempered(tiny()), Tempered(tiny(seed=1))
    again.temperature.data.fill_(1.0)
    backbones.save_checkpoint(tmp_path / "net", model, {})
    assert drift(model.state_dict(), backbones.load_checkpoint(tmp_path / "net", again)) == {}
    with pytest.raises(TypeError, match="got Tempered"):
        freeze(model, "stem")


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_drift_knows_the_names_of_a_wrapper_too(tiny, wrapper):
    wrapped = WRAPPERS[wrapper](tiny())
    before = {name: tensor.clone() for name, tensor in wrapped.state_dict().items()}
    assert drift(before, wrapped) == {}
    unwrapped(wrapped).head.bias.data += 1
    assert len(drift(before, wrapped)) == 1


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_model_is_drawn_and_exported(tiny, tmp_path, wrapper):
    wrapped = WRAPPERS[wrapper](freeze(tiny(), "stem"))
    assert "stem is frozen, body trains" in show.network(wrapped).data
    program = torch.export.load(backbones.export(tmp_path / "net.pt2", wrapped, 16)).module()
    photos = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    inner = unwrapped(wrapped).eval()
    torch.testing.assert_close(program(photos), inner(inner.preprocess(photos)))


def test_a_frozen_stage_whose_gradients_were_switched_on_is_refused_and_drawn_as_frozen(tiny, pairs):
    model = freeze(tiny(), "stem")
    for parameter in model.parameters():
        parameter.requires_grad = True
    assert "stem is frozen" in show.network(model).data
    assert not {id(p) for p in model.stem.parameters()} & {
        id(p) for group in parameter_groups(model, 0.1) for p in group["params"]
    }
    with pytest.raises(
        ValueError, match=r"stem is frozen, and yet its parameters want gradients.*freeze\(model, None\)"
    ):
        training.fit(model, *pairs, 32, QUICK, progress=False)


@pytest.mark.parametrize(
    "stages",
    [
        OrderedDict(),
        OrderedDict(stem=nn.Conv2d(3, 4, 3), fc=nn.Linear(4, 2)),
        OrderedDict(head=nn.Linear(4, 2), last=nn.ReLU()),
        OrderedDict(stem=nn.Conv2d(3, 4, 3), head=nn.Sequential(nn.Dropout(), nn.Linear(4, 2))),
    ],
)
def test_a_model_without_one_linear_layer_as_its_head_is_refused(stages):
    with pytest.raises(ValueError, match="the last one must be called 'head' and be one nn.Linear"):
        StagedModel(stages, (0.5,) * 3, (0.25,) * 3, "mine")


def test_slices_are_stages_too(tiny):
    model, x = freeze(tiny(), "stem").eval(), torch.randn(2, 3, 16, 16)
    assert torch.equal(model[2:](model[:2](x)), model(x))
    assert model[-1] is model.head


@pytest.mark.parametrize(
    "network",
    [
        nn.Linear(2, 2),
        nn.Sequential(nn.Linear(2, 2)),
        nn.DataParallel(nn.Linear(2, 2)),
        nn.Identity(),
        "resnet18",
        None,
    ],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda network: freeze(network, None),
        hold_statistics,
        lambda network: parameter_groups(network, 0.1),
        lambda network: training.fit(network, None),
        lambda network: training.extract(network, None, 32),
        lambda network: backbones.grad_cam(network, torch.zeros(1), torch.zeros(1), "stem"),
        lambda network: backbones.export("net.pt2", network, 32),
        lambda network: backbones.step_flops(network, 32, 2),
        show.network,
    ],
)
def test_other_networks_are_refused_in_words(network, use):
    with pytest.raises(TypeError, match=rf"named stages and a head, and got {type(network).__name__}.*load_backbone"):
        use(network)


def test_a_layer_that_is_called_head_somewhere_else_is_no_head(tiny):
    """Attention layers have a `head.` of their own: names alone do not tell."""
    model = tiny()
    model.body.add_module("head", nn.Conv2d(16, 16, 1))
    head, body = parameter_groups(model, rate=0.1, head_ratio=10)
    assert [id(p) for p in head["params"]] == [id(p) for p in model.head.parameters()]
    assert {id(p) for p in model.body.head.parameters()} <= {id(p) for p in body["params"]}


# --- while a loop runs ----------------------------------------------------------------------------------------------

CHANGES = {
    "freeze": lambda model: freeze(model, "stem"),
    "unfreeze": lambda model: freeze(model, None),
    "hold_statistics": hold_statistics,
    "new_head": lambda model: model.new_head(3),
    "freeze through a wrapper": lambda model: freeze(nn.DataParallel(model), "body"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_cannot_be_changed_while_a_loop_runs_on_it(tiny, pairs, own_home, change):
    model = freeze(tiny(), "stem")
    loop = training.train(model, *pairs, 32, QUICK)
    next(loop)
    weights, trains = copy.deepcopy(model.state_dict()), [p.requires_grad for p in model.parameters()]
    with pytest.raises(RuntimeError, match=r"would change tiny while a training loop runs on it.*loop\.close\(\)"):
        CHANGES[change](model)
    assert model.frozen == ["stem"]
    assert drift(weights, model) == {}
    assert [p.requires_grad for p in model.parameters()] == trains
    assert len(list(loop)) == 9  # it goes on as if nothing had been asked
    CHANGES[change](model)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "ended", ["never begun", "run to its end", "closed", "dropped", "left by break", "interrupted"]
)
def test_a_loop_that_ended_is_in_nobodys_way(tiny, pairs, own_home, change, ended):
    model = tiny()
    if ended == "left by break":
        for _ in training.train(model, *pairs, 32, QUICK):
            break
    elif ended == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            training.train(model, *pairs, 32, QUICK).throw(KeyboardInterrupt)
    else:
        loop = training.train(model, *pairs, 32, QUICK)
        if ended != "never begun":
            next(loop)
        if ended == "run to its end":
            list(loop)
        if ended == "closed":
            loop.close()
        if ended == "dropped":
            del loop
    CHANGES[change](model)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_loop_whose_owner_was_stopped_is_in_nobodys_way(tiny, pairs, own_home, monkeypatch, error):
    """A notebook keeps the last traceback, and the traceback keeps the loop; nobody can go on with it, though."""
    model = tiny()

    def cell():
        loop = training.train(model, *pairs, 32, QUICK)
        for _ in loop:
            raise error

    try:
        cell()
    except BaseException as stopped:
        monkeypatch.setattr(sys, "last_value", stopped, raising=False)
    freeze(model, "stem")
    assert model.frozen == ["stem"]


def test_a_loop_in_the_cause_of_the_last_error_is_in_nobodys_way(tiny, pairs, own_home, monkeypatch):
    model = tiny()

    def cell():
        loop = training.train(model, *pairs, 32, QUICK)
        for _ in loop:
            raise ValueError

    try:
        try:
            cell()
        except ValueError as cause:
            raise RuntimeError from cause
    except RuntimeError as error:
        monkeypatch.setattr(sys, "last_value", error, raising=False)
    assert freeze(model, "stem").frozen == ["stem"]


def test_a_loop_that_only_a_circle_holds_is_in_nobodys_way(tiny, pairs, own_home):
    model = tiny()

    def cell():
        loop = training.train(model, *pairs, 32, QUICK)
        circle = [next(loop), loop]
        circle.append(circle)

    gc.disable()
    try:
        cell()
        assert freeze(model, "stem").frozen == ["stem"]
    finally:
        gc.enable()


def test_an_error_elsewhere_ends_no_loop_of_the_notebook(tiny, pairs, own_home):
    """The frame of a cell holds every name of the notebook, and its traceback is kept for long."""
    shell = InteractiveShell()
    shell.user_ns.update(model=tiny(), pairs=pairs, training=training, QUICK=QUICK, freeze=freeze)
    shell.run_cell("no_such_name")
    shell.run_cell("loop = training.train(model, *pairs, 32, QUICK)\nfirst = next(loop)")
    assert isinstance(shell.run_cell("freeze(model, 'stem')").error_in_exec, RuntimeError)
    assert shell.run_cell("len(list(loop))").result == 9
    assert shell.run_cell("freeze(model, 'stem').frozen").result == ["stem"]


def test_every_loop_counts_not_only_the_last(tiny, pairs, own_home):
    model = tiny()
    first, _ = (training.train(model, *pairs, 32, QUICK) for _ in range(2))
    next(first)
    with pytest.raises(RuntimeError, match=r"freeze\(\) would change"):
        freeze(model, "stem")
    with pytest.raises(RuntimeError, match="A second training would change"):
        training.fit(model, *pairs, 32, QUICK, progress=False)
    assert len(list(first)) == 9


def test_a_second_training_in_another_thread_is_refused_also_in_the_middle_of_a_step(tiny, pairs, own_home):
    """Both would go on, and each undo what the other learns."""
    model, said, begun = tiny(), [], []

    class Second(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not begun:
                begun.append(self)
                thread = threading.Thread(target=second, daemon=True)
                thread.start()
                thread.join(timeout=5)  # the second one would wait for this step
            return x

    def second() -> None:
        try:
            next(training.train(model, *pairs, 32, QUICK))
        except RuntimeError as error:
            said.append(str(error))

    model.pool = nn.Sequential(model.pool, Second())
    assert len(list(training.train(model, *pairs, 32, QUICK))) == 10
    assert said[0].startswith("A second training would change tiny while a training loop runs on it")


@pytest.mark.parametrize("classes", [1, 0, 2.0, "3", None, True])
def test_a_head_for_no_number_of_classes_is_refused(tiny, classes):
    with pytest.raises(ValueError, match=r"new_head\(\) got classes=.*needs at least 2, a whole number"):
        tiny().new_head(classes)


def test_freezing_from_inside_a_step_is_refused(tiny, pairs, own_home):
    model = tiny()
    model.head.register_forward_hook(lambda *_: freeze(model, "stem"))
    with pytest.raises(RuntimeError, match=r"freeze\(\) would change"):
        next(training.train(model, *pairs, 32, QUICK))
    assert model.frozen == []


def test_an_interrupted_fit_lets_the_model_be_frozen_and_trained_further(tiny, pairs, own_home, monkeypatch):
    model, steps = tiny(), []

    def interrupt(*_):
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt

    model.head.register_forward_hook(interrupt)
    training.fit(model, *pairs, 32, QUICK, progress=False)
    before = freeze(model, "body").frozen_state()
    training.fit(model, *pairs, 32, QUICK, progress=False)
    assert drift(before, model) == {}


def test_a_copy_of_a_model_in_training_is_free(tiny, pairs, own_home):
    model = tiny()
    loop = training.train(model, *pairs, 32, QUICK)
    next(loop)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert freeze(copied, "stem").frozen == ["stem"]
    assert model.frozen == []


# --- modes come back ------------------------------------------------------------------------------------------------

HELPERS = {
    "extract": lambda model, photos: training.extract(model, photos, 32, cache=False),
    "by_stage": lambda model, photos: training.by_stage(model, photos, 32),
    "predict": lambda model, photos: training.predict(model, photos, 32),
    "accuracy": lambda model, photos: training.accuracy(model, photos, 32),
    "grad_cam": lambda model, photos: backbones.grad_cam(model, photos.images, photos.labels, "stem"),
    "fit": lambda model, photos: training.fit(model, photos, photos, 32, QUICK, progress=False),
    "step_flops": lambda model, photos: backbones.step_flops(model, 32, 4),
    "step_seconds": lambda model, photos: backbones.step_seconds(model, 32, 4, repeats=1),
    "prefix_flops": lambda model, photos: backbones.prefix_flops(model, 32),
    "by_depth": lambda model, photos: backbones.by_depth(model, [None, "stem"], 32, 4),
    "a loop that is left": lambda model, photos: next(training.train(model, photos, photos, 32, QUICK)),
}
FLAGS = {
    "training": lambda model: model.train(),
    "eval": lambda model: model.eval(),
    "one layer in eval": lambda model: model.train().body[1].eval(),
    "one layer in training": lambda model: model.eval().body[1].train(),
    "the root alone": lambda model: setattr(model.eval(), "training", True),
}


@pytest.mark.parametrize("helper", HELPERS)
@pytest.mark.parametrize("flags", FLAGS)
def test_helpers_give_every_module_its_own_flag_back(tiny, pairs, own_home, helper, flags):
    model = tiny()
    FLAGS[flags](model)
    before = modes(model)
    HELPERS[helper](model, pairs[1])
    assert modes(model) == before


@pytest.mark.parametrize("helper", ["extract", "by_stage", "predict", "grad_cam"])
def test_flags_come_back_after_an_error_too(tiny, pairs, helper):
    model = tiny()
    model.train().body[1].eval()
    before = modes(model)
    model.stem.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        HELPERS[helper](model, pairs[1])
    assert modes(model) == before


def test_what_was_frozen_meanwhile_stays_in_eval(tiny):
    model = tiny()
    with backbones.keeping_modes(model):
        freeze(model, "stem")
    assert model.training
    assert not any(module.training for module in model.stem.modules())


def test_freezing_switches_no_other_layer(tiny):
    model = tiny()
    model.body[1].eval()
    freeze(model, "stem")
    assert not model.body[1].training
    assert model.body.training
    freeze(model, None)
    assert model.stem.training
    assert not model.body[1].training


def test_a_model_that_is_no_more_leaves_nothing_behind(tiny, pairs, own_home):
    from transfer_utils.backbones import in_use

    model = tiny()
    list(training.train(model, *pairs, 32, QUICK))
    known = len(in_use._LOOPS)
    del model
    assert len(in_use._LOOPS) == known - 1


def test_every_known_network_is_a_staged_model():
    assert isinstance(backbones.course_resnet(2), StagedModel)
    assert isinstance(backbones.load_backbone("efficientnet_lite0", pretrained=False), StagedModel)


# --- preprocess -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x / 255,
        lambda x: x.float(),
        lambda x: x.half(),
        lambda x: x.int(),
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x[0],
        lambda x: x[:, :1],
        lambda x: x.numpy(),
        lambda x: list(x),
    ],
)
def test_pixels_are_scaled_once_and_come_as_photos(tiny, spoil):
    photos = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    with pytest.raises((TypeError, ValueError), match=r"preprocess\(\) got .*photos are a tensor of uint8"):
        tiny().preprocess(spoil(photos))


def test_what_was_preprocessed_is_not_preprocessed_again(tiny):
    model, photos = tiny(), torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"float32 images from -2.* before they were normalised"):
        model.preprocess(model.preprocess(photos))


def test_preprocessing_reads_no_number(tiny):
    """On the meta device, which has none: a training step that asks for one waits for the graphics card."""
    photos = torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device="meta")
    assert tiny().to("meta").preprocess(photos).shape == (2, 3, 8, 8)
