# %% [markdown]
# # 5 · The classic recipe, end to end
#
# *40 minutes. On two CPU cores the cells take about a minute in all.*
#
# Take a ResNet50 that was trained on ImageNet, remove its layer with 1000 outputs, put on a new one with ten, fine-tune,
# done. This recipe stands in every tutorial. In this lesson we carry it out to the end:
#
# - write the lines that everybody writes, and ask the old head about our photos;
# - put on a new head, train it on frozen features, then **fine-tune** the whole network;
# - leave out one part of the recipe at a time, add two that are in fashion, and measure what each is worth;
# - judge the result: what is confused with what, how sure the network may be, and **where it looks**;
# - **export** it, load it without the course, and write its **model card**.
#
# On a GPU this is ResNet50 on all of CIFAR-10, at 224 pixels, which takes longer than a minute. On a CPU the same cells
# take EfficientNet-Lite0, a small network with ImageNet weights of its own, and 20 photos per class.

# %% tags=["parameters"]
profile = "auto"  # or "cpu" or "gpu", to choose yourself
quick = False  # True: a few steps only, to see that everything works
home = None  # a folder of your own for downloads, features and models, such as one on a mounted Drive

# %%
import copy

import pandas as pd
import torch
from torch import nn
from torchvision.models import ResNet50_Weights, resnet50

from transfer_utils import backbones, course, data, show, stats, training
from transfer_utils.training import Recipe, accuracy, fit, predict

run = course.settings(profile, quick, home)
print(run)

# %% [markdown]
# We learn from `few` photos (on a GPU, from all of them), choose with `valid`, and judge with `test`, once. `watched` is a
# part of `valid` that is quick to look at.

# %%
train, valid, test = (data.load(run.photos, split) for split in ("train", "valid", "test"))
everything = run.profile == "gpu" and not run.quick
few = train if everything else train.take(per_class=run.few(20), seed=run.seed)
valid = valid.take(per_class=run.few(100, quick=6), seed=run.seed)
watched = valid.take(per_class=run.few(20), seed=run.seed)
test = test if not run.quick else test.take(per_class=6, seed=run.seed)
each = len(few) // len(few.classes)  # photos per class
few

# %% [markdown]
# ## The lines that everybody writes
#
# `pretrained=True` is what older code says, and torchvision warns of it: it never said *which* weights. Today weights have a
# name. The name knows how often they were right on ImageNet, with the first answer (`acc@1`) and with one of the first
# five (`acc@5`), and how a photo must be prepared for them. (More right on ImageNet often means better for another task, but
# some ways to raise it make frozen features worse [6].)

# %%
weights = ResNet50_Weights.DEFAULT
print(weights, *weights.meta["_metrics"].items())
weights.transforms()

# %% [markdown]
# Load, freeze, replace the head. The weights are a download of 98 MB, so only the GPU profile fetches them. Without them
# the shapes and the counts are the same, and they are all that we print.

# %%
at_hand = run.backbone == "resnet50" and run.pretrained
classic = resnet50(weights=weights if at_hand else None)
print("old head:", classic.fc)
classic.requires_grad_(False)  # freeze everything
classic.fc = nn.Linear(classic.fc.in_features, 10)  # a new head, which is not frozen

# %%
trains = sum(p.numel() for p in classic.parameters() if p.requires_grad)
print(f"new head: {classic.fc}; {trains:,} of {sum(p.numel() for p in classic.parameters()):,} parameters train")
print("ten numbers for each photo:", tuple(classic.eval()(torch.zeros(2, 3, 224, 224)).shape))

# %% [markdown]
# Then we train. Lesson 3 wrote this out for our own small network. Here it is for one with ImageNet weights that *are* at
# hand: freeze, new head, a loop; then unfreeze, and the loop again, gently. What is called `fc` there is called `head` here,
# and `resized` and `preprocess` together do the work of `weights.transforms()`.

# %%
torch.manual_seed(run.seed)
lite0 = backbones.load_backbone("efficientnet_lite0").to(run.device)
lite0.requires_grad_(False)
lite0.head = nn.Linear(lite0.head.in_features, 10).to(run.device)
lite0.eval()  # batch-norm keeps its statistics: we come back to that

some = few.take(min(10, each), seed=run.seed)  # half of our photos, to save time
pixels = lite0.preprocess(some.resized(96).images.to(run.device))
labels = some.labels.to(run.device)


# %%
def train_for(epochs, groups):
    optimiser = torch.optim.AdamW(groups)
    for _ in range(run.few(epochs, quick=1)):
        for batch in torch.randperm(len(pixels)).to(run.device).split(32):
            loss = nn.functional.cross_entropy(lite0(pixels[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    print(f"{accuracy(lite0, watched, 96):.0%} of some valid photos")


# %%
train_for(3, [{"params": lite0.head.parameters(), "lr": 1e-2}])  # the head alone

# %%
lite0.requires_grad_(True)  # everything
backbone = [p for name, p in lite0.named_parameters() if not name.startswith("head.")]
train_for(1, [{"params": backbone, "lr": 1e-4}, {"params": lite0.head.parameters(), "lr": 1e-3}])

# %% [markdown]
# **Takeaway.** The classic recipe is twenty lines. The rest of this lesson is about what they do not say: which numbers to put
# in, what each part is worth, and how good the result is. From here on we use the course's helpers, which do the same, and
# more: features of frozen stages are computed once, and photos are mirrored and shifted.
# <!-- live -->

# %%
model = backbones.load_backbone(run.backbone, pretrained=run.pretrained)
print(model.stages)
print(f"the old head: {model.head}")

# %% [markdown]
# ## What does the old head say?
#
# ImageNet's thousand classes contain many breeds of dog, one horse (the *sorrel*), and no deer. **Predict:** what will the
# network answer when it sees a photo of each of our classes?

# %%
one_each = valid[torch.stack([(valid.labels == label).nonzero()[1, 0] for label in range(10)])]  # the second of each
surest = predict(model, one_each, run.size).softmax(1).max(1)
names = [weights.meta["categories"][i] for i in surest.indices]  # the same thousand for every ImageNet network
alt = f"One photo each of {', '.join(valid.classes)}."
show.photo_rows([("photo", one_each.images)], alt, side=1.0)

# %%
for ours, theirs, share in zip(valid.classes, names, surest.values, strict=True):
    print(f"{ours:<11} {theirs} ({share:.0%})")

# %% [markdown]
# **Takeaway.** Some answers are near, some are wrong and very sure, and all of them answer another question than ours. What
# the network knows about photos sits in front of the head, so that is the part we keep.
# <!-- live -->
#
# ## Step 1: a new head on frozen features
#
# A linear probe (lesson 2) *is* a head: the same ten rows of weights, found in a moment, without a learning rate. We fit
# it on the frozen features, and put it where the old head was.

# %%
probed = few.take(min(500, each), seed=run.seed)  # on a GPU a part of them, to save time
bank, valid_bank = (training.extract(model, photos, run.size) for photos in (probed, valid))
probe = training.best_probe(bank, probed.labels, valid_bank, valid.labels)
model.head = probe.linear()
frozen_accuracy = accuracy(model, valid, run.size)
print(f"new head: {model.head}; {frozen_accuracy:.0%} of the valid photos")

# %% [markdown]
# ## Step 2: fine-tune, gently
#
# Now everything may move. A recipe is a list of choices. Here is ours for 20 photos per class on a CPU, beside what one finds
# elsewhere:
#
# | part | here | elsewhere | what for |
# |---|---|---|---|
# | head | starts as the probe | at random; at zero [3]; trained first [1, 2] | a random head sends the backbone wrong gradients at first |
# | rate of the backbone | 1e-4 | 1e-5 with Adam [2], 3e-3 with SGD [3] | too high a rate loses what pretraining knew (lesson 3) |
# | rate of the head | ten times that | the same [1, 2, 3]; 2.6 times less from layer to layer, downwards [4] | made for random heads; see below |
# | optimiser | AdamW, weight decay 0.05 | SGD with momentum, without decay [3] | how a gradient becomes a step; decay keeps weights small |
# | schedule | up for a quarter of the steps, down to zero | the same shape [4]; in steps [3]; constant [2] | small first steps, small last ones |
# | epochs, batch | 6, of 32 photos | 500 steps of 512 photos for small sets [3] | few steps: the network stays near its start |
# | augmentation | mirrored, shifted | mirrored, cropped | more views of few photos |
# | batch-norm | statistics held | held [2]; moving, as after `train()`; none, but group-norm [3] | see below |
# | label smoothing, mixup | none | strengths 0.1 and 0.2 in pretraining [5]; mixup from 20,000 photos on [3] | see below |
# | pixels | 96 | those of pretraining, often 224; 128 for photos as small as ours [3] | more detail, more time |
#
# (Numbers in brackets are references, at the end. Rates of SGD and of Adam cannot be compared.) **Predict:** how many points will fine-tuning add? And which part matters
# most?

# %%
network = backbones.hold_statistics(copy.deepcopy(model))
show.network(network)

# %%
epochs = 2 if everything else run.few(6)
recipe = Recipe(epochs, rate=1e-3, head_ratio=10, batch=32, seed=run.seed)
history = fit(network, few, watched, run.size, recipe)
show.history(history)

# %%
tuned_accuracy = accuracy(network, valid, run.size)
print(f"frozen {frozen_accuracy:.0%} ({len(probed):,} photos), fine-tuned {tuned_accuracy:.0%} ({len(few):,} photos)")

# %% [markdown]
# **Takeaway.** The curve of the *valid* photos is the one that counts. The other one says how well the network knows what it
# trains on, and a gap between the two is no fault by itself. (We look at a part of the valid photos. Nothing was chosen by
# this curve.)
# <!-- live -->
#
# One run is an anecdote. In the stored rows, five draws choose the learning rates and the probe's **penalty**, which keeps its
# weights small. Twenty other draws judge, on test photos. All are of EfficientNet-Lite0 at 96 pixels, whatever the profile.
# Intervals are for other draws of training photos, not for other networks or test photos. Our own star is from valid photos,
# which also chose its penalty, and its draw helped to choose the rate: expect it a little high.
#
# *Scratch until flat*, from lesson 0, is the same network from random weights. It trains at one constant rate until it stops
# improving, for at most 100 epochs, and has five draws, with 10 and with 50 photos per class.

# %%
rows = stats.results("lesson05").dropna(subset=["test"])
scratch = stats.select(stats.results("lesson00"), method="scratch until flat")
lines = rows[rows["method"].isin(["linear probe", "recipe"])]
mine = {"our run": (20, tuned_accuracy)} if run.comparable else None
show.label_curve(pd.concat([lines, scratch], join="inner", ignore_index=True), mine=mine, chance=0.1)

# %% [markdown]
# **Takeaway.** Fine-tuning leads the frozen probe at every size, and both leave scratch far behind: with ten photos per class
# they are better than scratch with fifty.
# <!-- test_the_recipe_leads_the_probe_at_every_size --> <!-- test_scratch_that_had_its_time_stays_far_behind -->
#
# Fine-tuning sees its photos mirrored and shifted; the probe saw each once, as it is. Is *that* the gain? We give another
# probe each photo as it is, and as many such views of it as fine-tuning has epochs.


# %%
def against(other, ways, *sizes):
    """For each way and size, its lead over another way in every draw."""
    lead = {}
    for n in sizes:
        here = stats.select(rows, per_class=n)
        lead |= {f"{way} minus {other}, {n}": stats.differences(here, way, other) for way in ways}
    return lead


# %%
own = {"recipe minus linear probe, 20": tuned_accuracy - frozen_accuracy} if run.comparable else None
leads = against("linear probe", ["linear probe, augmented", "recipe"], 10, 20, 100)
show.forest(leads, "accuracy, 10, 20 and 100 photos per class", own)

# %% [markdown]
# **Takeaway.** It is not the views. A probe that sees them too is the same as one without, within two points, at every size.
# Fine-tuning is ahead of both. What it costs: the frozen network sees each photo once, this one in every epoch.
# <!-- test_it_is_not_the_views -->
#
# ## Which part of the recipe matters?
#
# We leave out one part at a time:
#
# - *statistics move*: batch-norm works with those of each batch, and lets the kept ones follow;
# - *random head*: the head does not start from the probe;
# - *one rate*: head and backbone get the same.
#
# And we add two that newer recipes have:
#
# - **label smoothing** asks for 91 % for the true class, and for 1 % for each of the nine others;
# - **mixup** blends two photos, and asks for both of their classes in the same proportion.
#
# Each variant chose its own rate. The strengths are those of [5], and all take the same 36 steps. Label smoothing and mixup
# were made for hundreds of epochs, and they also change how sure a network is, which these rows do not measure.

# %%
parts = ["statistics move", "random head", "one rate", "label smoothing", "mixup"]
show.forest(against("recipe", [f"recipe, {part}" for part in parts], 20), "accuracy, 20 photos per class")

# %% [markdown]
# **Takeaway.** One part decides. Let the statistics move, and fine-tuning ends below the probe, whose backbone never moved. A
# random head costs a few points; it has to be learned within the same 36 steps, and these rows do not say what it would
# reach with more. The other three are the same as the recipe within two points. *One rate* is if anything a point ahead:
# ten times the rate for the head was made for random heads, and ours starts solved. Label smoothing and mixup did not help
# here.
# <!-- test_moving_statistics_cost_more_than_fine_tuning_gains --> <!-- test_a_random_head_costs_a_few_points -->
# <!-- test_one_rate_smoothing_and_mixup_change_little --> <!-- test_one_rate_is_if_anything_ahead -->
# <!-- test_label_smoothing_and_mixup_did_not_help -->
#
# ### Hold the statistics, always?
#
# Batch-norm keeps a mean and a variance for each channel. In training mode it works with those of the batch, and lets the
# kept ones follow. Our probe was fitted to features made with the kept ones, and no longer fits when they move. So we ask
# again with a random head. And we ask a second network: the course's own ResNet from lesson 3, also with a random head,
# fine-tuned on cats, deer and horses of the size that it was pretrained on.

# %%
at_20 = stats.select(rows, per_class=20)
held = {}
for name, way in {"": "recipe", ", random head": "recipe, random head"}.items():
    held[f"EfficientNet-Lite0{name}, 20"] = stats.differences(at_20, way, f"{way}, statistics move")
course_rows = stats.results("lesson03").dropna(subset=["test"])
for n in (5, 20, 100):
    here = stats.select(course_rows, per_class=n)
    held[f"course ResNet, {n}"] = stats.differences(here, "full, statistics held", "full")
show.forest(held, "accuracy, held minus moving, by photos per class")

# %% [markdown]
# **Takeaway.** It depends on the network. EfficientNet-Lite0 loses more than five points when its statistics move, whichever head
# it starts with. The course ResNet is the same within two points either way. The two differ in more than the network, in
# steps and in pixels for example, so these rows show *that* the answer can differ, not why. Our advice: hold them first. It
# cost at most two points where it did not help. With many photos, try both.
# <!-- test_held_statistics_help_one_network_with_either_head -->
# <!-- test_held_statistics_change_little_on_the_course_resnet -->
#
# ## Judge it, once
#
# One choice is left, the temperature below, and valid photos make it. Only now do we look at the test photos.

# %%
judged = stats.evaluate(predict(network, test, run.size), test.labels, test.classes)
print(f"test photos: {judged.accuracy}")

# %% [markdown]
# Which classes are taken for which? Those that are confused stand side by side.

# %%
show.confusion(judged)

# %% [markdown]
# **Takeaway.** Animals are taken for animals, and vehicles for vehicles: between the two groups there are few mistakes.
# <!-- live -->

# %%
print(judged.often_confused)
best_first = dict(sorted(judged.per_class.items(), key=lambda item: -item[1].mean))
show.intervals(best_first, "share of each class that is recognised")

# %% [markdown]
# **Takeaway.** One number hides ten. The interval of a class is wide, for it rests on a tenth of the photos; two classes
# whose intervals overlap widely should not be ranked. (These intervals are for this one network. Another draw of training
# photos gives another network.)
# <!-- live -->
#
# ## How sure may it be?
#
# The head gives one number for each class, the **logits**; softmax turns them into probabilities. The largest one is the
# network's **confidence** in its answer. If it says 90 %, is it right nine times in ten? It is **calibrated** when
# confidence and accuracy agree. Dividing all logits by one number, the **temperature**, changes how sure it is, but no
# answer.
#
# ### Exercise 5.1: find the temperature
#
# Write `temperature(logits, labels)`: try numbers between 0.1 and 10, and return the one with the smallest cross-entropy
# of `logits / t`. Hint: `torch.logspace(-1, 1, 200)` gives the candidates, `torch.nn.functional.cross_entropy` the loss.
# On which photos may it be chosen?


# %% tags=["exercise"]
def temperature(logits, labels):
    return None  # your lines replace this one


# %% tags=["solution"]
def temperature(logits, labels):
    candidates = torch.logspace(-1, 1, 200)
    losses = [torch.nn.functional.cross_entropy(logits / t, labels) for t in candidates]
    return candidates[torch.stack(losses).argmin()].item()


# %%
course.check("5.1", temperature)

# %% [markdown]
# We sort the answers by confidence into ten bins: 0 to 10 %, 10 to 20 %, and so on. Each mark below is one bin. Long bars mean
# few answers. On the dotted line, confidence equals accuracy. (The `temperature` of an evaluation is the exercise, with a
# safeguard for photos that are all answered right.)

# %%
t = stats.evaluate(predict(network, valid, run.size), valid.labels, valid.classes).temperature
cooled = stats.evaluate(judged.logits / t, test.labels, test.classes)
show.reliability({"as it is": judged, f"divided by {t:.2f}": cooled})

# %% [markdown]
# The **calibration error** is the distance of the marks from the dotted line, averaged over all answers.

# %%
before, after = judged.calibration_error, cooled.calibration_error
print(f"temperature {t:.2f}, chosen on valid photos")
print(f"calibration error on test photos: {before:.1%}, with the temperature {after:.1%}")

# %% [markdown]
# **Takeaway.** Marks below the dotted line are answers that were too sure. Why did valid photos choose the temperature? On its
# training photos the network is nearly always right. A temperature chosen there would make it surer still.
# <!-- live -->
#
# ## Where does it look?
#
# A stage gives maps (lesson 1). Which of them speak for *deer*? **Grad-CAM** lets autograd tell how the logit of deer changes
# with each place of each map: its **slope**. The mean slope of a map is its weight. We add up the weighted maps. Where the
# sum is above zero, the photo speaks for deer.
#
# ### Exercise 5.2: from slopes to heat
#
# Write `heat_of(maps, slopes)`, both (N, channels, h, w): weight each channel with the mean of its slopes over positions,
# add the channels up, and set what is negative to zero. Hint: `mean((2, 3), keepdim=True)`, `sum(1)`, `relu()`.


# %% tags=["exercise"]
def heat_of(maps, slopes):
    return None  # your lines replace this one


# %% tags=["solution"]
def heat_of(maps, slopes):
    weight = slopes.mean((2, 3), keepdim=True)
    return (weight * maps).sum(1).relu()


# %%
course.check("5.2", heat_of)

# %% [markdown]
# `backbones.grad_cam` cuts the network behind a stage for this, and stretches each map so that its highest place is 1. Late stages know more and see coarser: **which stage would you ask?**

# %%
large = one_each.resized(run.size).images
stages = ("stage2", "stage3", "stage4") if run.backbone == "resnet50" else ("stage3", "stage5", "stage7")
maps = {stage: backbones.grad_cam(network, large, one_each.labels, stage) for stage in stages}
show.heat_rows(large, maps, one_each.classes)

# %% [markdown]
# **Takeaway.** Each row explains the photo's own class. An early stage is fine and restless, the last one a few large blocks,
# and not always on the object. We go on with the one in the middle.
# <!-- live -->
#
# Choose a photo and a class. What in this photo speaks for *deer*? For *ship*? Mind the percentage: a class with 0 % glows
# too, since every map is stretched.

# %%
by_class = [backbones.grad_cam(network, large, torch.full((10,), c), stages[1]) for c in range(10)]
shares = predict(network, one_each, run.size).softmax(1)
show.heat_explorer(one_each.resized(64), shares, torch.stack(by_class, dim=1))

# %% [markdown]
# A picture convinces too easily. **Does the network need the places that glow?** We cover a quarter of each photo with
# grey: *what glows* on its own map, *what glows on another photo*, *the middle*, or *what does not glow*.

# %%
seen = valid.take(run.few(30, quick=2), seed=run.seed).resized(run.size)
glow = backbones.grad_cam(network, seen.images, seen.labels, stages[1])
covered = {}
for name, part in {"nothing": seen, **course.cover(seen, glow)}.items():
    covered[name] = stats.evaluate(predict(network, part, run.size), part.labels, part.classes)
show.intervals({f"covered: {name}": answers.accuracy for name, answers in covered.items()}, "accuracy on valid photos")

# %%
right = {name: answers.predicted == seen.labels for name, answers in covered.items()}
for name in ("what glows on another photo", "the middle", "what does not glow"):
    cost = stats.mean_interval((right[name].float() - right["what glows"].float()).tolist())
    print(f"covering what glows costs {cost.mean:.1%} [{cost.low:.1%}, {cost.high:.1%}] more than {name}")

# %% [markdown]
# **Takeaway.** Grey alone costs a lot, wherever it is. Read the line about the middle: only where covering what glows costs
# clearly more than that has the map told us more than "things are in the middle". Without this control the test would
# have shown us what we wanted to see.
# <!-- live -->
#
# ## Take it with you
#
# A network should run without this notebook. We divide the head by the temperature, and `torch.export` writes
# what the network computes to one file, from pixels between 0 and 255 to logits. PyTorch alone loads it, without the
# course. Only resizing to the right number of pixels stays with the user.

# %%
deployed = copy.deepcopy(network).cpu().eval().requires_grad_(False)
for parameter in deployed.head.parameters():
    parameter /= t  # in place; it divides the logits
place = run.folder / "exported"
program = torch.export.load(backbones.export(place / "ten_classes.pt2", deployed, run.size)).module()

# %%
photos = test[::40].resized(run.size).images
expected = deployed(deployed.preprocess(photos))
print("torch.export: largest difference", (program(photos) - expected).abs().max().item())
agree = (program(photos).argmax(1) == judged.predicted[::40]).float().mean()
print(f"{agree:.1%} of its answers are those of the evaluation above")

# %% [markdown]
# Not always all of them: on hardware that can, the evaluation above computed in **half precision**, numbers with fewer
# digits, and the file computes in float32. And photos must come to it as they came to us. How they are resized matters as well: another
# **filter**, the rule that makes new pixels of old ones, gives other pixels.

# %%
blocks = nn.functional.interpolate(test[::40].images, run.size, mode="nearest")
print(
    f"other answers after another filter: {(program(blocks).argmax(1) != program(photos).argmax(1)).float().mean():.1%}"
)

# %% [markdown]
# **ONNX** is understood by runtimes that know nothing of PyTorch, on telephones and in browsers. It takes some more
# packages. Where they are missing, the cell says which, and we go on.

# %%
try:
    file = backbones.export(place / "ten_classes.onnx", deployed, run.size)
except ImportError as missing:
    print(missing)
else:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (answers,) = session.run(["logits"], {"photos": photos.numpy()})
    print("ONNX: largest difference", (torch.from_numpy(answers) - expected).abs().max().item())

# %%
{path.name: f"{path.stat().st_size / 1e6:.1f} MB" for path in sorted(place.glob("ten_classes.*"))}

# %% [markdown]
# **Takeaway.** Nobody can forget the normalisation, for it is in the file. What the file does not say is what the network
# is good for. That is what a **model card** (lesson 1) is for, and everything in it is already known:
# <!-- live -->

# %%
import datetime

pretrained = "ImageNet weights" if run.pretrained else "untrained"
facts = {
    "Classes": ", ".join(test.classes),
    "Input": f"RGB from 0 to 255, resized to {run.size} x {run.size} with a bicubic filter and antialiasing",
    "Backbone": f"{run.backbone}, {pretrained}, batch-norm's statistics held",
    "Trained on": f"{len(few):,} photos of {run.photos}, the first head on {len(probed):,} of them, seed {run.seed}",
}

# %%
facts |= {
    "Optimiser": f"AdamW, weight decay {recipe.decay:g}, batches of {recipe.batch}",
    "Schedule": f"{recipe.epochs} epochs, one cycle: up to {recipe.rate:g} for the head, a tenth for the rest, down to 0",
    "Augmentation": "mirrored at random, shifted by up to an eighth of the side",
    "Calibration": f"temperature {t:.2f} in the head; calibration error on test photos {after:.1%}",
    "Made on": f"{datetime.date.today()}, torch {torch.__version__}",
}

# %%
from IPython.display import Markdown

limits = [
    judged.often_confused,
    "The photos are from before 2009, 32 pixels wide, one object each. Others were not tried.",
    "It answers with one of its ten classes, whatever it is shown.",
]
card = judged.card("Ten everyday things", facts, "test photos", limits)
Markdown(card.replace("# ", "#### "))  # smaller headings

# %% [markdown]
# ## Self-test
#
# Write your letters in place of `None` and run the cell.

# %% tags=["exercise"]
course.self_test("05", None, None, None)

# %% tags=["solution"]
course.self_test("05", "b", "b", "a")

# %% tags=["result"]
shift = (program(photos) - expected).abs().max()
accuracies = {"test": judged.accuracy.mean, "frozen": frozen_accuracy, "tuned": tuned_accuracy}
glows, not_glows = (right[part].float().mean() for part in ("what glows", "what does not glow"))
worth = stats.mean_interval(held["EfficientNet-Lite0, 20"])
run.result(**accuracies, glows=glows, not_glows=not_glows, statistics=worth, shift=shift)

# %% [markdown]
# ## Recap
#
# - Weights have a **name**; `pretrained=True` is history.
# - The recipe: keep the backbone, fit a **new head** on frozen features, then fine-tune everything gently.
# - Whether **batch-norm's statistics** may move can cost more than fine-tuning gains. With few photos, hold them first.
# - An accuracy is the beginning of an evaluation: **confusions**, classes with intervals, **calibration**, and a look at
#   where the network looks, checked by covering it.
# - An exported file carries its normalisation. Its **card** carries what it was trained on, and where to mistrust it.
#
# ## References
#
# 1. A. Kumar and others, *Fine-Tuning can Distort Pretrained Features*, 2022, https://arxiv.org/abs/2202.10054: probe first.
# 2. F. Chollet, *Transfer learning and fine-tuning*, https://keras.io/guides/transfer_learning/, on batch-norm too.
# 3. A. Kolesnikov and others, *Big Transfer*, 2020, https://arxiv.org/abs/1912.11370: one recipe for twenty tasks.
# 4. J. Howard and S. Ruder, *Universal Language Model Fine-tuning*, 2018, https://arxiv.org/abs/1801.06146: rates by layer.
# 5. V. Vryniotis, *How to train state-of-the-art models using TorchVision's latest primitives*, 2021,
#    https://pytorch.org/blog/how-to-train-state-of-the-art-models-using-torchvision-latest-primitives/.
# 6. S. Kornblith and others, *Do Better ImageNet Models Transfer Better?*, 2019, https://arxiv.org/abs/1805.08974.
#
# - K. He and others, *Deep Residual Learning for Image Recognition*, 2016, https://arxiv.org/abs/1512.03385.
# - C. Szegedy and others, *Rethinking the Inception Architecture*, 2016, https://arxiv.org/abs/1512.00567: label smoothing.
# - H. Zhang and others, *mixup: Beyond Empirical Risk Minimization*, 2018, https://arxiv.org/abs/1710.09412.
# - C. Guo and others, *On Calibration of Modern Neural Networks*, 2017, https://arxiv.org/abs/1706.04599.
# - R. Selvaraju and others, *Grad-CAM*, 2017, https://arxiv.org/abs/1610.02391.
# - J. Adebayo and others, *Sanity Checks for Saliency Maps*, 2018, https://arxiv.org/abs/1810.03292.
# - M. Mitchell and others, *Model Cards for Model Reporting*, 2019, https://arxiv.org/abs/1810.03993.
