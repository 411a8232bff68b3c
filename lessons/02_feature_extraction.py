# %% [markdown]
# # 2 · How far do frozen features go?
#
# *25 minutes. On two CPU cores the cells take less than a minute in all.*
#
# A network that has never seen our photos already turns them into something useful. In this lesson we
#
# - cut a network in two, and prove that nothing is lost at the cut;
# - compute the frozen part **once**, and train heads in a fraction of a second;
# - find out which **stage** of the network our task needs;
# - meet a mistake that changes a frozen network without an error.

# %% tags=["parameters"]
profile = "auto"  # or "cpu" or "gpu", to choose yourself
quick = False  # True: a few steps only, to see that everything works
home = None  # a folder of your own for downloads, features and models, such as one on a mounted Drive

# %%
import time

import pandas as pd
import torch

from transfer_utils import backbones, course, data, show, stats, training

run = course.settings(profile, quick, home)
print(run)

# %%
train, valid = data.load(run.photos, "train"), data.load(run.photos, "valid")
if run.quick:
    valid = valid.take(per_class=12, seed=run.seed)
backbone = backbones.load_backbone(run.backbone, pretrained=run.pretrained)
print(backbone.stages)

# %% [markdown]
# ## Cut, and nothing is lost
#
# Our networks are rows of stages: the *stem*, numbered stages, in this one a widening *neck*, then *pool*, which averages
# over positions, and the *head*. We can cut between any two. The first part, the **prefix**, will be frozen. The rest,
# the **suffix**, will train.

# %%
prefix, suffix = backbone.cpu().eval().split(after="pool")
with torch.no_grad():
    x = backbone.preprocess(valid[:4].resized(run.size).images)
    whole, in_two = backbone(x), suffix(prefix(x))
print("the same, bit for bit:", torch.equal(whole, in_two))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# If the prefix never changes, neither does its output. A photo has to pass it only once, however many heads we train,
# and for however many epochs.
#
# **Guess:** ten photos per class, fifty epochs. How much of the time can we save by computing features once?

# %%
few = train.take(per_class=10, seed=run.seed)
epochs = run.few(50)
training.extract(backbone, few[:2], size=run.size, cache=False)  # a device's first work takes longer: not that
start = time.perf_counter()
bank = training.extract(backbone, few, size=run.size, cache=False)
once = time.perf_counter() - start

# %%
start = time.perf_counter()
probe = training.linear_probe(bank, few.labels)
head_only = time.perf_counter() - start
print(f"features: {once:.1f} s, then the head: {head_only:.2f} s")
print(f"the same features again in each of {epochs} epochs would take about {epochs * once:.0f} s")

# %% [markdown]
# **Takeaway.** The backbone is nearly all of the work. `training.extract` does it once, and keeps the result on disk
# under a key made of the weights, the photos, the size and the precision. Change one, and it computes anew.
# <!-- live -->
#
# ## Ten photos per class
#
# What do these features know about our ten classes?

# %%
valid_bank = training.extract(backbone, valid, size=run.size)
accuracy = probe.accuracy(valid_bank, valid.labels)
print(f"{accuracy:.0%} of the valid photos, from 10 photos per class")

# %% [markdown]
# How much of that is the network? Logistic regression also works without one, on the raw pixels.

# %%
raw = training.linear_probe(few.images.flatten(1).float(), few.labels)
raw_accuracy = raw.accuracy(valid.images.flatten(1).float(), valid.labels)
print(f"{raw_accuracy:.0%} of the valid photos, from raw pixels")

# %% [markdown]
# One number from one draw of one hundred photos is an anecdote. The stored rows hold five draws, judged on test
# photos, for frozen features, for raw pixels, and for the same network trained from scratch (lesson 0). Our own point,
# the star, is from valid photos.

# %%
rows = stats.results("lesson02")
curves = rows[rows["stage"].isin(["neck", "pixels"])].rename(columns={"stage": "method"})
curves = curves.replace({"method": {"neck": "frozen features", "pixels": "raw pixels"}})
scratch = stats.results("lesson00").query("method.str.startswith('scratch')")
ours = {"our probe": (10, accuracy)} if run.comparable else None
both = pd.concat([curves, scratch], join="inner", ignore_index=True)
show.label_curve(both, mine=ours, chance=0.1)

# %%
gain = stats.difference(stats.select(curves, per_class=10), "frozen features", "raw pixels")
print(f"frozen features minus raw pixels at 10 photos per class: {gain}")

# %% [markdown]
# **Takeaway.** Frozen features climb steeply with the first few photos. With five photos per class they are ahead of
# raw pixels with two hundred.
# <!-- test_a_few_photos_with_features_beat_many_with_pixels -->
#
# ## Which stage?
#
# The neck comes after all other stages, but it was made for ImageNet's question, not for ours. **Predict:** is it best?
# Draw your curve from stem to neck before you run the cell. To compare stages we average each map over its positions,
# and fit a probe to these averages. A choice is made on *valid* photos, so that is what we look at.

# %%
lite0 = backbones.load_backbone("efficientnet_lite0")
seen = ["pixels", *lite0.stages[:-2]]  # from the photo itself to the last stage in front of pool and head
at_50 = {s: stats.mean_interval(stats.select(rows, stage=s, per_class=50)["valid"]) for s in seen}
show.intervals(at_50, "valid accuracy of a probe on each stage, 50 photos per class")

# %% [markdown]
# **Takeaway.** Averaged over positions, stem and stage 1 give no more than raw pixels do. From stage 2 on accuracy
# climbs, and after stage 6 it hardly changes. The neck, the usual place to take features from, is not ahead of the
# stages before it. Is it behind? We ask the test photos about stage 7 and the neck, with our question fixed beforehand.
# <!-- test_the_first_stages_give_no_more_than_pixels -->
# <!-- test_late_stages_beat_early_ones_at_50 -->
# <!-- test_accuracy_hardly_changes_after_stage_6 -->

# %%
for size in (1, 10, 50, 100):
    difference = stats.difference(stats.select(rows, per_class=size), {"stage": "stage7"}, {"stage": "neck"})
    print(f"stage 7 minus neck, {size} photos per class: {difference}")

# %% [markdown]
# **Takeaway.** A point or two for stage 7, and at fifty photos per class the two are the same within two points. At no size
# is the neck the better choice, for these photos and this network. The neck stands next to ImageNet's thousand answers and
# is four times as wide as stage 7; both could be the reason, and we have tested neither.
# <!-- test_the_neck_is_never_the_better_choice -->
# <!-- test_stage_7_is_ahead_of_the_neck_at_some_sizes_and_not_at_all -->
#
# Now explore: choose a stage and a number of photos. Below the chart, each row starts with one valid photo, followed
# by the photos that this stage finds most alike. A dashed frame marks another class.

# %%
looked_at = valid.take(run.few(100, quick=12), seed=run.seed)
banks = {"pixels": looked_at.images.flatten(1).float(), **training.by_stage(lite0, looked_at, size=96)}
first_of_each = [int((looked_at.labels == label).nonzero()[0]) for label in (0, 3, 4, 7, 8, 9)]
show.stage_explorer(rows, banks, looked_at, first_of_each)

# %% [markdown]
# **Takeaway.** For pixels and stem, a neighbour is a photo with the same colours: blue sky goes with blue sea. For the
# late stages it is more often the same kind of thing.
# <!-- live -->
#
# ### Exercise 2.1: choose a stage without cheating
#
# Write `best_stage(rows, per_class)`: return the stage to use, and its mean accuracy on test photos. Hint:
# `rows.groupby("stage")["..."].mean().idxmax()`. Which column may you choose by?


# %% tags=["exercise"]
def best_stage(rows, per_class):
    return None  # your lines replace this one


# %% tags=["solution"]
def best_stage(rows, per_class):
    same_size = rows[rows["per_class"] == per_class]
    means = same_size.groupby("stage")[["valid", "test"]].mean()
    chosen = means["valid"].idxmax()
    return chosen, means.loc[chosen, "test"]


# %%
course.check("2.1", best_stage)

# %%
{size: best_stage(rows, size) for size in (1, 10, 100)}

# %% [markdown]
# ## The batch-norm trap
#
# "Frozen" sounds like one promise. It is three: no gradient reaches the weights, the optimiser does not hold them, and
# **batch-norm** does not update its running statistics, the mean and variance of each channel that it keeps for later.
# The first is easy to remember, the third easy to forget. Let us forget it:

# %%
careless = backbones.load_backbone("course_resnet/both", classes=3, seed=run.seed)
for name, parameter in careless.named_parameters():
    parameter.requires_grad_(name.startswith("head."))
before = {name: tensor.clone() for name, tensor in careless.state_dict().items() if not name.startswith("head.")}

# %% [markdown]
# No weight of the backbone can move now. We run some batches in training mode, as every training loop does, on photos
# that are darker than the ones it was pretrained on. We do not even take a step. **What can change?**

# %%
animals = train.only("cat", "deer", "horse").take(run.few(100, quick=20), seed=run.seed)
dark = (animals.images * 0.4).byte()
careless.train()
with torch.no_grad():
    for batch in dark.split(50):
        careless(careless.preprocess(batch))
moved = backbones.drift(before, careless.state_dict())
print(f"{len(moved)} tensors moved, for example:")
print({name: round(change, 3) for name, change in list(moved.items())[:3]})

# %% [markdown]
# Not one weight is among them. Batch-norm's running means and variances are **buffers**: no gradient, no optimiser,
# and yet they move whenever the network runs in training mode. Features that we computed yesterday no longer belong to
# this network.
#
# `model.eval()` stops it, until somebody calls `model.train()`. `backbones.freeze` keeps the promise for good:

# %%
careful = backbones.load_backbone("course_resnet/both", classes=3, seed=run.seed)
backbones.freeze(careful, through="pool")
before = careful.frozen_state()
training.fit(careful, animals, size=32, recipe=training.Recipe(epochs=run.few(10), rate=1e-2, batch=32))
careful.cpu().train()(careful.preprocess(dark[:50]))
drift = backbones.drift(before, careful)
assert drift == {}
print("tensors and buffers that moved in training:", len(drift))  # NBVAL_CHECK_OUTPUT

# %%
show.network(careful)

# %% [markdown]
# ### Exercise 2.2: freeze it yourself
#
# Write `freeze(model)` so that no gradient reaches the weights and no statistic moves, even after `model.train()`. Return
# the model. Hint: a model's `train` method can be replaced, like any attribute.


# %% tags=["exercise"]
def freeze(model):
    return None  # your lines replace this one


# %% tags=["solution"]
def freeze(model):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.eval()
    model.train = lambda mode=True: model  # the promise survives the next model.train()
    return model


# %%
course.check("2.2", freeze)

# %% [markdown]
# ## Self-test
#
# Write your letters in place of `None` and run the cell.

# %% tags=["exercise"]
course.self_test("02", None, None, None)

# %% tags=["solution"]
course.self_test("02", "a", "b", "c")

# %% tags=["result"]
run.result(probe_10=accuracy, pixels_10=raw_accuracy, gain_10=gain, drift=len(drift))

# %% [markdown]
# ## Recap
#
# - Cut the network, run the **prefix once**, keep its features, train as many heads as you like.
# - Later stages need fewer photos than early ones, but the very last is not better than those before it. Which stage to
#   use is a measurement: **choose on valid, report on test**.
# - Frozen means three things. **Buffers** count.
#
# Next: in lesson 3 the backbone may move.
#
# ## References
#
# - J. Donahue and others, *DeCAF: A Deep Convolutional Activation Feature*, 2014, https://arxiv.org/abs/1310.1531.
# - A. Razavian and others, *CNN Features off-the-shelf*, 2014, https://arxiv.org/abs/1403.6382.
# - G. Alain and Y. Bengio, *Understanding intermediate layers using linear classifier probes*, 2016,
#   https://arxiv.org/abs/1610.01644.
# - S. Ioffe and C. Szegedy, *Batch Normalization*, 2015, https://arxiv.org/abs/1502.03167.
