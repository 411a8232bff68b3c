# %% [markdown]
# # 1 · What does a network learn from a big task?
#
# *30 minutes. On two CPU cores the cells take less than a minute in all.*
#
# Where do pretrained weights come from? From somebody who trained on a larger task first. Today that is us. We
#
# - **pretrain** a small residual network (one with short cuts around its layers) on five classes of photos, live;
# - load a **checkpoint**, the stored weights of a longer run, and look at what each **stage** responds to;
# - save weights so that a stranger can use them: with a **card**;
# - **fine-tune**, that is train on, with 20 photos each of three classes that the network has never seen.
#
# This lesson uses the photos that ship with the course and our own small network, also where there is a GPU.

# %% tags=["parameters"]
profile = "auto"  # or "cpu" or "gpu", to choose yourself
quick = False  # True: a few steps only, to see that everything works
home = None  # a folder of your own for downloads, features and models, such as one on a mounted Drive

# %%
import torch
from sklearn.decomposition import PCA

from transfer_utils import backbones, course, data, show, stats, training

run = course.settings(profile, quick, home)
print(run)

# %% [markdown]
# ## The split
#
# We divide the ten classes once, for the whole course. The **source** classes are pretrained on. The **target**
# classes stay unseen, so that they are a new task. (Ship and truck wait as a second target, for a later lesson.)

# %%
train = data.load("cifar10_photos", "train")
source = train.only("airplane", "automobile", "bird", "dog", "frog")
target = train.only("cat", "deer", "horse")
print("source:", source)  # NBVAL_CHECK_OUTPUT
print("target:", target)

# %%
show.photos(source.take(8, seed=run.seed))

# %% [markdown]
# Vehicles and animals, no cats, no deer, no horses. The network below is ours, made for 32-pixel photos. Its first stage
# is called the **stem**; three residual stages follow. Each turns the photo into a pile of small pictures, the **maps**
# of its **channels**.

# %%
untrained = backbones.course_resnet(classes=len(source.classes), seed=run.seed)
print(f"{sum(p.numel() for p in untrained.parameters()):,} parameters")  # NBVAL_CHECK_OUTPUT
show.network(untrained)

# %% [markdown]
# Most parameters sit in the last stage: its maps are small, its channels many.
#
# ## Pretrain, live
#
# 500 photos per class, a handful of epochs. **Guess first:** guessing at random is right 1 time in 5. What do you
# expect after some seconds of training?

# %%
model = backbones.course_resnet(classes=len(source.classes), seed=run.seed)
valid = data.load("cifar10_photos", "valid").only(*source.classes)
drawn = source.take(run.few(500, quick=20), seed=run.seed)
recipe = training.Recipe(epochs=run.few(8), rate=3e-3, batch=64, seed=run.seed)
history = training.fit(model, drawn, valid, 32, recipe)
history.round(3).tail(3)

# %%
show.history(history)

# %% [markdown]
# **Takeaway.** Both lines end far above guessing: the network learns something that also holds for photos it has not
# trained on. You may interrupt a training cell at any time. The model keeps what it has learned.
# <!-- live -->
#
# ## The long run
#
# Longer training on all 8,500 source photos takes minutes, so we ship the result. `make checkpoints` repeats it. The
# card says what is inside. **Predict:** how much do more than three times the photos and more epochs add?

# %%
pretrained = backbones.load_backbone("course_resnet/both")
pretrained.card

# %%
scores = {"our live run": model, "the shipped checkpoint": pretrained}
for name, network in scores.items():
    print(f"{name}: {training.accuracy(network, valid, 32):.0%} of {len(valid)} valid photos")

# %% [markdown]
# ## Inside: the first filters
#
# A stem looks at 3 by 3 pixels at a time, through 32 small colour **filters**. Each responds most where the photo looks
# like the filter itself. Here are sixteen of ours before and after pretraining, and sixteen of a network that was
# pretrained on ImageNet, with a hundred times the photos and many more steps.

# %%
imagenet = backbones.load_backbone("efficientnet_lite0")
stems = {"ours, random": untrained.stem[0], "ours, pretrained": pretrained.stem[0], "ImageNet's": imagenet.stem[0]}
filters = {name: stem.weight[:16].detach().cpu() for name, stem in stems.items()}
shown = [(name, ((f / f.abs().amax((1, 2, 3), keepdim=True) + 1) * 127.5).byte()) for name, f in filters.items()]
show.photo_rows(shown, alt="Sixteen 3 by 3 colour filters each: ours look random, ImageNet's show edges and colours.")

# %% [markdown]
# **Takeaway.** ImageNet's filters have directions, light on one side and dark on the other, or prefer a colour. Ours
# have hardly moved away from their random start. A random filter already finds edges of some kind; so let us look at
# what the stages *respond* to.
# <!-- live -->
#
# ## Inside: one photo on its way
#
# Each stage turns maps into other maps. We send one photo through, and look at the channels that respond to it most.

# %%
photo = valid.only("frog")[[6]]
maps, x = {}, pretrained.cpu().eval().preprocess(photo.images)
with torch.no_grad():
    for name in ("stem", "stage1", "stage2", "stage3"):
        x = pretrained.get_submodule(name)(x)
        maps[name] = x[0, x[0].mean((1, 2)).topk(6).indices]


# %%
def grey(channels):  # each map from its darkest to its brightest place, as a photo in grey
    low, high = channels.amin((1, 2), keepdim=True), channels.amax((1, 2), keepdim=True)
    return (255 * (channels - low) / (high - low)).byte()[:, None].expand(-1, 3, -1, -1)


rows_of_maps = [("photo", photo.images), *((name, grey(channels)) for name, channels in maps.items())]
show.photo_rows(rows_of_maps, "One frog photo, and six channel maps each of stem and stages 1 to 3.", side=1.0)

# %% [markdown]
# **Takeaway.** The stem keeps the picture: edges, light and dark, colours. From stage to stage the maps get coarser.
# The last ones no longer say what a spot looks like; they say that something is there.
# <!-- live -->
#
# ## What does a channel like?
#
# A map shows one photo. The other way round tells more: for one channel, which photos excite it most? We show the six
# channels of each stage that are most selective. **Predict:** in which stage will a row consist of photos of one class?
# Then move the slider.

# %%
looked_at = valid.take(run.few(200, quick=20), seed=run.seed)
responses = training.by_stage(pretrained, looked_at, size=32)
show.response_explorer(responses, looked_at)

# %% [markdown]
# **Takeaway.** Rows of the stem share a colour or a brightness, and often mix classes. From stage to stage the rows
# belong more and more to one class: from how it looks to what it is.
# <!-- live -->
#
# ## Does it see classes that it never learned?
#
# We take photos of the three *target* classes. The network turns each into 256 numbers; we draw the two directions in
# which they differ most (PCA), before and after pretraining.

# %%
new = data.load("cifar10_photos", "valid").only("cat", "deer", "horse").take(run.few(150, quick=20), seed=run.seed)
banks = {
    "random weights": training.extract(untrained, new, size=32),
    "pretrained on other classes": training.extract(pretrained, new, size=32),
}
points = {title: torch.from_numpy(PCA(2).fit_transform(bank.numpy())) for title, bank in banks.items()}
show.embeddings(points, new.labels, new.classes, alt="Target photos as points: mixed before, partly sorted after.")

# %% [markdown]
# **Takeaway.** Not much to see: in two directions out of 256 the classes overlap, before and after. A picture like this
# proves nothing.
# <!-- live -->
#
# A number says more: how often does a photo's nearest neighbour, in all 256
# directions, belong to the same class? Write it yourself.
#
# ### Exercise 1.1: do neighbours agree?
#
# Write `agreement(points, labels)`: the share of points whose nearest *other* point has the same label. Hint:
# `torch.cdist(points, points)` gives all distances; `.fill_diagonal_(torch.inf)` forbids a point to be its own
# neighbour.


# %% tags=["exercise"]
def agreement(points, labels):
    return None  # your lines replace this one


# %% tags=["solution"]
def agreement(points, labels):
    distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
    return (labels[distances.argmin(1)] == labels).float().mean()


# %%
course.check("1.1", agreement)

# %%
for title, bank in banks.items():
    share = agreement(bank, new.labels)
    print(f"{title}: {share:.0%}" if share is not None else f"{title}: write agreement() first")

# %% [markdown]
# Guessing would agree 1 time in 3. Random weights already do better, possibly because deer and horses differ in
# colour and background. So we ask the stored rows: a linear probe on either network, 20 photos per class, five seeds.

# %%
rows = stats.results("lesson01")
gain = stats.difference(stats.select(rows, per_class=20), "linear probe", "linear probe, random weights")
print(f"a probe on pretrained features minus one on random features: {gain}")

# %% [markdown]
# **Takeaway.** What the network learned on other classes helps with the new ones even without training it any further.
# <!-- test_pretrained_features_help_with_new_classes_without_training -->
#
# ## Save it for a stranger
#
# Weights alone are useless: which output is the frog? We save them as safetensors, which holds numbers and no code,
# with a card inside. The file is written in one step: a crash leaves the old one or the new one, never half.

# %%
card = {"classes": source.classes, "photos": len(drawn), "recipe": vars(recipe)}
card["valid_accuracy"] = round(training.accuracy(model, valid, 32), 3)
path = run.folder / "checkpoints" / "my_first"
backbones.save_checkpoint(path, model, card)
again = backbones.load_checkpoint(path, backbones.course_resnet(classes=len(card["classes"])))
assert torch.equal(training.predict(again, photo, 32), training.predict(model, photo, 32))

# %% [markdown]
# The reloaded network gives the same numbers, bit for bit. And this is what a stranger reads first:

# %%
again.card

# %% [markdown]
# ### Exercise 1.2: transplant a backbone
#
# Write `transplant(pretrained, new)`: copy every stage of `pretrained` into `new`, except the head, and return `new`.
# Hint: `stage.state_dict()` and `stage.load_state_dict(...)` copy weights *and* batch-norm statistics;
# `new.named_children()` lists the stages.


# %% tags=["exercise"]
def transplant(pretrained, new):
    return None  # your lines replace this one


# %% tags=["solution"]
def transplant(pretrained, new):
    for name, stage in new.named_children():
        if name != "head":
            stage.load_state_dict(pretrained.get_submodule(name).state_dict())
    return new


# %%
course.check("1.2", transplant)

# %% [markdown]
# ## Does it pay?
#
# Twenty photos each of cat, deer and horse. One network starts from the checkpoint, with a fresh head, and all of it is
# fine-tuned: from here on we call this *full*. The other starts from random weights: *scratch*. Same photos, same order,
# same number of epochs, each at a rate that was good on valid photos. **Guess** the distance between the two.

# %%
few = target.take(per_class=20, seed=run.seed)
unseen = data.load("cifar10_photos", "valid").only(*few.classes)
starts = {
    "full": (backbones.load_backbone("course_resnet/both", classes=3, seed=run.seed), 1.6e-2, 10),
    "scratch": (backbones.course_resnet(classes=3, seed=run.seed), 1e-3, 1),
}

# %%
mine = {}
for name, (network, rate, ratio) in starts.items():
    recipe = training.Recipe(epochs=run.few(20), rate=rate, head_ratio=ratio, batch=16, seed=run.seed)
    training.fit(network, few, size=32, recipe=recipe)
    mine[name] = training.accuracy(network, unseen, 32)
    print(f"{name}: {mine[name]:.0%} of {len(unseen)} valid photos")

# %% [markdown]
# Here the head moves fast, and the backbone at a tenth of its rate (`head_ratio=10`). Whether that helps is a question
# for lesson 3.
#
# One run is an anecdote. The stored rows repeat it with five draws of photos and five pretraining runs, read on test
# photos. For each method the best of six settings of the learning rates was chosen on valid photos. Scratch is shown
# with the same epochs and with ten times as many. The stars are our own run, on valid photos.

# %%
at_20 = {m: stats.mean_interval(r["test"]) for m, r in stats.select(rows, per_class=20).groupby("method")}
show.intervals(at_20, "accuracy with 20 photos per class", None if run.quick else mine)

# %%
for baseline in ("linear probe", "scratch", "scratch, 10x epochs"):
    gain = stats.difference(stats.select(rows, per_class=20), "full", baseline)
    print(f"20 photos per class, full minus {baseline}: {gain}")

# %%
show.label_curve(rows[rows["method"] != "scratch, 10x epochs"], chance=1 / 3)

# %% [markdown]
# **Takeaway.** Five classes of other things make a better start than random weights, at every size that we tried; ten
# times the epochs do not make up for it. And look at the probe, which trains nothing in the network: with five photos
# per class it is within five points of fine-tuning, to either side, and with a hundred within three points of scratch. How
# much to train depends on how much data there is. Lesson 2 takes up the frozen end of this scale.
# <!-- test_fine_tuning_gains_at_every_size -->
# <!-- test_ten_times_the_epochs_do_not_save_scratch -->
# <!-- test_at_five_per_class_a_probe_is_near_fine_tuning -->
# <!-- test_at_a_hundred_per_class_a_probe_is_near_scratch -->
#
# ## Self-test
#
# Write your letters in place of `None` and run the cell.

# %% tags=["exercise"]
course.self_test("01", None, None, None)

# %% tags=["solution"]
course.self_test("01", "b", "a", "c")

# %% tags=["result"]
run.result(fine_tuned_20=mine["full"], scratch_20=mine["scratch"], gain_20=gain)

# %% [markdown]
# ## Recap
#
# - **Pretraining** is ordinary training on a larger task. What we keep is the backbone.
# - Channels of early stages respond to colour and brightness, those of late stages more and more to one class.
# - Features learned on other classes help with new ones, and fine-tuning adds to that.
# - A checkpoint is **weights and a card**.
#
# Next: lesson 2 leaves the backbone as it is, and finds out how far that goes.
#
# ## References
#
# - K. He, X. Zhang, S. Ren, J. Sun, *Deep Residual Learning*, 2016, https://arxiv.org/abs/1512.03385.
# - J. Yosinski, J. Clune, Y. Bengio, H. Lipson, *How transferable are features in deep neural networks?*, 2014,
#   https://arxiv.org/abs/1411.1792.
# - M. Zeiler and R. Fergus, *Visualizing and Understanding Convolutional Networks*, 2014,
#   https://arxiv.org/abs/1311.2901.
# - M. Mitchell and others, *Model Cards for Model Reporting*, 2019, https://arxiv.org/abs/1810.03993.
