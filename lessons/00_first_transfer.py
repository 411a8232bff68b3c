# %% [markdown]
# # 0 · What does transfer learning buy me?
#
# *20 minutes. On two CPU cores the cells take about a minute in all.*
#
# Somebody else has trained a network on 1.3 million photos. We have one hundred. In this lesson we
#
# - check that our computer is ready;
# - sort photos into ten classes after seeing only **10 photos of each**;
# - train the same network without its past, and compare;
# - learn how this course tells a result from an accident.
#
# You need Python, and an idea of what a neural network is. No earlier lesson is needed.

# %% tags=["parameters"]
profile = "auto"
quick = False

# %%
from transfer_utils import backbones, checks, data, explorers, features, freezing, plots, probes, stats, training
from transfer_utils.settings import result, settings

run = settings(profile, quick)
print(run)

# %% [markdown]
# This line is our environment check. It names the device that trains, the photos, and the network that we reuse. A
# laptop's CPU is enough for every lesson.
#
# ## One hundred photos
#
# The photos are from CIFAR-10: ten classes, 32 by 32 pixels, small enough to ship with the course. They come in three
# splits. We learn from `train`, make choices with `valid`, and touch `test` only for a final result.

# %%
train, valid = data.load(run.photos, "train"), data.load(run.photos, "valid")
if run.quick:
    valid = valid.take(per_class=10, seed=run.seed)
few = train.take(per_class=10, seed=run.seed)
print(few)  # NBVAL_CHECK_OUTPUT

# %%
plots.photos(few, per_class=10)

# %% [markdown]
# That is everything we will learn from: one row per class, ten photos each. Some are hard even for us.
#
# **Before you go on, guess.** Somebody who guesses at random is right 10 times in 100. A straight line through the
# features of a pretrained network, fitted to these 100 photos: how often will it be right on new ones? Write your
# number down.
#
# ## A network with a past
#
# EfficientNet-Lite0 learned to tell a thousand kinds of things apart in ImageNet. We split it in two. The **backbone**
# turns a photo into a list of numbers, its **features**. The **head** turns features into an answer.

# %%
backbone = backbones.load_backbone(run.backbone, pretrained=run.pretrained)
freezing.freeze(backbone, through=backbone.stages[-2])
plots.network(backbone)

# %% [markdown]
# Every stage but the last is frozen: none of our photos will change it. The old head knows ImageNet's thousand
# classes. Nobody needs it here, so we read the features in front of it.

# %%
bank = features.extract(backbone, few, size=run.size)
print("one row of features per photo:", tuple(bank.shape))

# %% [markdown]
# Each photo has become a row of numbers. On these rows we fit the simplest classifier there is, a **linear probe**:
# logistic regression.

# %%
probe = probes.linear_probe(bank, few.labels)
valid_bank = features.extract(backbone, valid, size=run.size)
pretrained = probe.accuracy(valid_bank, valid.labels)
print(f"pretrained backbone, 10 photos per class: {pretrained:.0%} of the valid photos are right")

# %% [markdown]
# How close was your guess? The probe saw 100 photos. The rest of its knowledge came with the backbone.
#
# ## The same network without its past
#
# Is it the pretraining, or is this just a good architecture? We take the same network with random weights and train
# all of it on the same 100 photos. It sees each of them 10 times; the probe's backbone saw each of them once.
#
# **Guess again:** what will it reach?

# %%
scratch = backbones.load_backbone(run.backbone, pretrained=False, classes=len(few.classes))
recipe = training.Recipe(epochs=run.few(10, quick=1), rate=1e-3, batch=25, seed=run.seed)
history = training.fit(scratch, few, size=run.size, recipe=recipe)
from_scratch = training.accuracy(scratch, valid, size=run.size)
print(f"same network from scratch: {from_scratch:.0%} of the valid photos are right")

# %% [markdown]
# Our own run, one seed. Was that luck?
#
# ## A result, or an accident?
#
# Another draw of 100 photos would give other numbers. So we repeated everything with five draws, and stored every
# run. The bars are 95 % intervals over these draws; the stars are our own points. The stored runs were read on `test`
# photos that nothing was chosen by.

# %%
rows = data.results("lesson00")
rows.groupby(["method", "per_class"])[["valid", "test", "epochs"]].mean().round(3)

# %%
at_10 = {m: stats.mean_interval(r["test"]) for m, r in stats.select(rows, per_class=10).groupby("method")}
mine = {} if run.quick else {"probe": pretrained, "scratch": from_scratch}
plots.intervals(at_10, "accuracy with 10 photos per class", mine)

# %% [markdown]
# *Scratch* stands there twice, so that the comparison is fair: with our 10 epochs, and *until flat*. That run goes on
# until accuracy on valid photos has stopped rising, for up to ten times the epochs, and keeps its best moment.

# %%
longest = max((m for m in at_10 if m != "probe"), key=lambda m: at_10[m].mean)
gain = stats.paired_difference(rows, "probe", longest, per_class=10)
print(f"gain of pretraining over the best scratch ({longest}): {gain}")

# %% [markdown]
# **Takeaway.** With ten photos per class, the pretrained backbone is worth more than anything we can teach the same
# network from these photos alone. The gain is the mean of five differences, each on the same draw of photos, and the
# interval says how sure we are.
#
# ## Move the slider
#
# What do more photos change? Pick a method and a number of photos. (Use the mouse, or Tab and the arrow keys.)

# %%
explorers.label_curve(rows, "method", title="Pretrained or from scratch")

# %% [markdown]
# **Takeaway.** More photos help both. Fifty per class do not bring scratch to where the pretrained features start.
#
# ### Exercise 0.1: a head for ten classes
#
# Write `ten_classes()`. It returns EfficientNet-Lite0 with ImageNet's backbone and a fresh head for our ten classes.
# Hint: look at the arguments of `load_backbone` with `?backbones.load_backbone`.


# %% tags=["exercise"]
def ten_classes():
    return None  # your lines replace this one


# %% tags=["solution"]
def ten_classes():
    return backbones.load_backbone("efficientnet_lite0", classes=10)


# %%
checks.ten_classes(ten_classes)

# %% [markdown]
# ### Exercise 0.2: how few are too few?
#
# Write `accuracy_with(per_class)`: draw that many photos per class with `seed=0`, extract their features, fit a linear
# probe, and return its accuracy on the valid photos. Hint: every line you need stands above.


# %% tags=["exercise"]
def accuracy_with(per_class):
    return None  # your lines replace this one


# %% tags=["solution"]
def accuracy_with(per_class):
    drawn = data.load("cifar10_photos", "train").take(per_class, seed=0)
    unseen = data.load("cifar10_photos", "valid")
    lite0 = backbones.load_backbone("efficientnet_lite0")
    drawn_bank, unseen_bank = (features.extract(lite0, photos, size=96) for photos in (drawn, unseen))
    return probes.linear_probe(drawn_bank, drawn.labels).accuracy(unseen_bank, unseen.labels)


# %%
checks.accuracy_with(accuracy_with)

# %% [markdown]
# ## Self-test
#
# Write your letters in place of `None` and run the cell.

# %% tags=["exercise"]
checks.self_test("00", None, None, None)

# %% tags=["solution"]
checks.self_test("00", "b", "c", "b")

# %% tags=["result"]
result(pretrained_10=pretrained, scratch_10=from_scratch, gain_10=gain, quick=run.quick)

# %% [markdown]
# ## Recap
#
# - A pretrained network is a **backbone** that makes features and a **head** that answers. We keep the first and
#   replace the second.
# - A **linear probe** on frozen features needs seconds and a hundred photos.
# - We always show the same network **from scratch**, with time to catch up, and we report **intervals over seeds**.
#
# ## Map of the course
#
# | lesson | question |
# |---|---|
# | **0** first transfer | What does transfer learning buy me? |
# | **1** pretraining | What does a network learn from a big task? |
# | **2** feature extraction | How far do frozen features go? |
#
# ## References
#
# - A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009: the photos.
# - M. Tan and Q. Le, *EfficientNet*, 2019, https://arxiv.org/abs/1905.11946: the family of our backbone.
# - G. Alain and Y. Bengio, *Understanding intermediate layers using linear classifier probes*, 2016,
#   https://arxiv.org/abs/1610.01644.
# - S. Kornblith, J. Shlens, Q. Le, *Do Better ImageNet Models Transfer Better?*, 2019,
#   https://arxiv.org/abs/1805.08974.
