# %% [markdown]
# # 0 · What does transfer learning buy me?
#
# *20 minutes. On two CPU cores the cells take less than a minute in all.*
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
profile = "auto"  # or "cpu" or "gpu", to choose yourself
quick = False  # True: a few steps only, to see that everything works
home = None  # a folder of your own for downloads, features and models, such as one on a mounted Drive

# %%
from transfer_utils import backbones, course, data, machine, show, stats, training

run = course.settings(profile, quick, home)
print(run)

# %% [markdown]
# This line says what the lesson uses: the device that trains, the photos, and the network that we reuse. A laptop's CPU is
# enough for every lesson. (With a graphics card, `auto` takes a larger network, ResNet50, at 224 pixels, and all of CIFAR-10,
# and downloads 270 MB once. The text and the stored results are about the small network. To follow them to the letter, set
# `profile = "cpu"`.)
#
# Is everything there? The set-up check tells. (In a terminal: `python -m transfer_utils doctor`.)

# %%

machine.check()

# %% [markdown]
# In Colab it also says how to get a GPU.
#
# <details><summary>How many threads, and why?</summary>
#
# On a computer with three cores or more, one is left to the browser and to whatever else runs. Every step of a training waits
# for its slowest thread, so a thread that has to share its core holds up all the others. Do lessons crawl on a computer with
# two busy cores? Set the environment variable `OMP_NUM_THREADS` to 1 before you start Jupyter.
#
# </details>
#
# <details><summary>In Colab: keep what you make</summary>
#
# *File*, *Save a copy in Drive* keeps the notebook with your answers. Other files are lost when a runtime ends, unless they
# are on your Drive: run the two lines below in a new cell, set `home = "/content/drive/MyDrive/transfer_course"` in the cell
# that begins with `profile`, and run that cell and the next one. Downloads, features and saved models then live there.
#
# ```python
# from google.colab import drive
# drive.mount("/content/drive")
# ```
#
# </details>
#
# ## One hundred photos
#
# The photos are from CIFAR-10: ten classes, 32 by 32 pixels, small enough to ship with the course. They come in three
# splits. We learn from `train`, make choices with `valid`, and touch `test` only for a final result.

# %%
train, valid = data.load(run.photos, "train"), data.load(run.photos, "valid")
if run.quick:
    valid = valid.take(per_class=10, seed=run.seed)
few = train.take(per_class=10, seed=run.seed)  # a seed fixes a random draw, so that we can repeat it
print(few)  # NBVAL_CHECK_OUTPUT

# %%
show.photos(few, per_class=10)

# %% [markdown]
# That is everything we will learn from: one row per class, ten photos each. Some are hard even for us.
#
# **Before you go on, guess.** Somebody who guesses at random is right 10 times in 100. A simple linear classifier on top
# of a pretrained network, fitted to these 100 photos: how often will it be right on new ones? Write your number down.
#
# ## A network with a past
#
# EfficientNet-Lite0 learned to tell a thousand kinds of things apart in 1.3 million photos of ImageNet. We split it in
# two. The **backbone**
# turns a photo into a list of numbers, its **features**. The **head** turns features into an answer.

# %%
backbone = backbones.load_backbone(run.backbone, pretrained=run.pretrained)
backbones.freeze(backbone, through=backbone.stages[-2])
show.network(backbone)

# %% [markdown]
# Every stage but the last is frozen: none of our photos will change it. The old head knows ImageNet's thousand
# classes. Nobody needs it here, so we read the features in front of it.

# %%
bank = training.extract(backbone, few, size=run.size)
print("one row of features per photo:", tuple(bank.shape))

# %% [markdown]
# Each photo has become a row of numbers. On these rows we fit the simplest classifier there is, a **linear probe**:
# logistic regression. The `valid` photos then tell us how good it is on photos it has never seen.

# %%
valid_bank = training.extract(backbone, valid, size=run.size)
probe = training.linear_probe(bank, few.labels)
pretrained = probe.accuracy(valid_bank, valid.labels)
print(f"pretrained backbone, 10 photos per class: {pretrained:.0%} of the valid photos are right")

# %% [markdown]
# How close was your guess? The probe saw 100 photos. The rest of its knowledge came with the backbone.
#
# ## The same network without its past
#
# Is it the pretraining, or is this just a good architecture? We take the same network with **random weights**, in two
# ways. First the same probe, on the features of a network that has learned nothing. **Guess again:** better than 10 in
# 100?

# %%
ignorant = backbones.load_backbone(run.backbone, pretrained=False, seed=run.seed)  # random, but the same each time
bank, unseen_bank = (training.extract(ignorant, photos, size=run.size) for photos in (few, valid))
random_weights = training.linear_probe(bank, few.labels).accuracy(unseen_bank, valid.labels)
print(f"the same probe on random weights: {random_weights:.0%} of the valid photos are right")

# %% [markdown]
# Only the weights differ between the two probes. But nobody would use random weights like this; one would train them.
# So, second, we train the whole network **from scratch** on the same 100 photos. It sees each of them 10 times.

# %%
scratch = backbones.load_backbone(run.backbone, pretrained=False, classes=len(few.classes), seed=run.seed)
recipe = training.Recipe(epochs=run.few(10, quick=1), rate=4e-3, batch=25, seed=run.seed)
history = training.fit(scratch, few, size=run.size, recipe=recipe)
from_scratch = training.accuracy(scratch, valid, size=run.size)
print(f"same network from scratch: {from_scratch:.0%} of the valid photos are right")

# %% [markdown]
# Our own run, one seed. Was that luck?
#
# ## A result, or an accident?
#
# Another draw of 100 photos would give other numbers. So we repeated everything with five draws, and stored every
# run. The bars are 95 % intervals over these draws, read on `test` photos that nothing was chosen by. The stars are our
# own run, measured on `valid`.

# %%
rows = stats.results("lesson00")
rows.groupby(["per_class", "method"])[["valid", "test", "epochs"]].mean().round(3)

# %%
at_10 = {m: stats.mean_interval(r["test"]) for m, r in stats.select(rows, per_class=10).groupby("method")}
mine = {"linear probe": pretrained, "linear probe, random weights": random_weights, "scratch": from_scratch}
show.intervals(at_10, "accuracy with 10 photos per class", mine if run.comparable else None)

# %% [markdown]
# *Scratch* stands there twice: with our 10 epochs, and *until flat*. That run goes on until accuracy on valid photos has
# stopped rising, for up to ten times the epochs, and keeps its best moment. Rates and penalties were chosen on valid
# photos: two learning rates for scratch, the better one for the longer runs, five penalties for the probes.

# %%
for baseline in ("linear probe, random weights", "scratch", "scratch until flat"):
    gain = stats.difference(stats.select(rows, per_class=10), "linear probe", baseline)
    print(f"pretrained probe minus {baseline}: {gain}")

# %% [markdown]
# **Takeaway.** With ten photos per class, the pretrained features beat the same network trained on these photos alone,
# however long we let it train within our limits. Each gain is the mean of five differences, each on the same draw of
# photos, and the interval says how sure we are. With fifty per class, scratch still does not reach what the pretrained
# features give with ten.
# <!-- test_scratch_stays_far_below -->
# <!-- test_scratch_at_50_stays_below_the_probe_at_10 -->
#
# ## Move the slider
#
# How many photos do we need? Compare pretrained features with the raw pixels of the same photos. (Use the mouse, or Tab
# and the arrow keys.)

# %%
curves = stats.results("lesson02").query("stage in ['neck', 'pixels']").rename(columns={"stage": "input"})
curves = curves.replace({"input": {"neck": "pretrained features", "pixels": "raw pixels"}})
show.label_explorer(curves, "input", title="How many photos?")

# %% [markdown]
# **Takeaway.** Five photos per class with pretrained features do better than two hundred with raw pixels.
# <!-- test_a_few_photos_with_features_beat_many_with_pixels -->
#
# ### Exercise 0.1: a head for ten classes
#
# Write `ten_classes()`. It returns `"efficientnet_lite0"` with ImageNet's backbone and a fresh head for our ten classes.
# Hint: look at the arguments of `load_backbone` with `?backbones.load_backbone`.


# %% tags=["exercise"]
def ten_classes():
    return None  # your lines replace this one


# %% tags=["solution"]
def ten_classes():
    return backbones.load_backbone("efficientnet_lite0", classes=10)


# %%
course.check("0.1", ten_classes)

# %% [markdown]
# ### Exercise 0.2: how few are too few?
#
# Write `accuracy_with(per_class)`: draw that many photos per class with `seed=0`, extract their features, fit a linear
# probe, and return its accuracy on the valid photos. Use the photos `"cifar10_photos"`, the backbone
# `"efficientnet_lite0"` and `size=96`, whatever the lesson ran with. Hint: every line you need stands above, with `run.`
# in place of these names.


# %% tags=["exercise"]
def accuracy_with(per_class):
    return None  # your lines replace this one


# %% tags=["solution"]
def accuracy_with(per_class):
    drawn = data.load("cifar10_photos", "train").take(per_class, seed=0)
    unseen = data.load("cifar10_photos", "valid")
    lite0 = backbones.load_backbone("efficientnet_lite0")
    drawn_bank, unseen_bank = (training.extract(lite0, photos, size=96) for photos in (drawn, unseen))
    return training.linear_probe(drawn_bank, drawn.labels).accuracy(unseen_bank, unseen.labels)


# %%
course.check("0.2", accuracy_with)

# %% [markdown]
# ## Self-test
#
# Write your letters in place of `None` and run the cell.

# %% tags=["exercise"]
course.self_test("00", None, None, None)

# %% tags=["solution"]
course.self_test("00", "b", "c", "b")

# %% tags=["result"]
run.result(pretrained_10=pretrained, scratch_10=from_scratch, gain_10=gain)

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
# | **3** fine-tuning | Which layers should move, and how fast? |
# | **4** practical trade-offs | When does it pay, and what does it cost? |
# | **5** the classic recipe | ResNet50 to ten classes: how does it go, end to end? |
# | **7** your own photos | What about mine? |
# | **8** text | Is it only for images? |
#
# ## References
#
# - A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009: the photos.
# - M. Tan and Q. Le, *EfficientNet*, 2019, https://arxiv.org/abs/1905.11946: the family of our backbone.
# - G. Alain and Y. Bengio, *Understanding intermediate layers using linear classifier probes*, 2016,
#   https://arxiv.org/abs/1610.01644.
# - S. Kornblith, J. Shlens, Q. Le, *Do Better ImageNet Models Transfer Better?*, 2019,
#   https://arxiv.org/abs/1805.08974.
