# %% [markdown]
# # 3 · Which layers should move, and how fast?
#
# *50 minutes. On two CPU cores the cells take about a minute in all.*
#
# A frozen backbone answers with what it learned before. A fine-tuned one may change its mind. In this lesson we
#
# - write fine-tuning out in twenty lines of **plain PyTorch**;
# - take "frozen" apart into three switches, and see each one fail alone;
# - play with the **freezing lab**: move a control, and a training run answers;
# - compare six ways to fine-tune over twenty draws, each with a fair choice of **learning rate**;
# - find a rate in seconds, see what a wrong one costs, and stop before the network **overfits**;
# - measure what fine-tuning **forgets**, and how it does on photos with noise, blur and fog.

# %% tags=["parameters"]
profile = "auto"  # or "cpu" or "gpu", to choose yourself
quick = False  # True: a few steps only, to see that everything works
home = None  # a folder of your own for downloads, features and models, such as one on a mounted Drive

# %%
import copy
import itertools

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from transfer_utils import backbones, course, data, show, stats, training
from transfer_utils.backbones import freeze
from transfer_utils.training import Recipe, accuracy, fit

run = course.settings(profile, quick, home)
print(run)

# %% [markdown]
# The network is the course's own residual network of lesson 1, pretrained on five classes: *airplane*, *automobile*,
# *bird*, *dog* and *frog*. The new task has three classes that it has never seen. We start with 20 photos of each.

# %%
new_classes = ("cat", "deer", "horse")
train, valid = (data.load("cifar10_photos", split).only(*new_classes) for split in ("train", "valid"))
if run.quick:
    valid = valid.take(per_class=12, seed=run.seed)
few = train.take(per_class=20, seed=run.seed)
few

# %% [markdown]
# The **head** is the last layer of a network. The **backbone** is all the rest, in **stages**; the first is the **stem**.
# To train **from scratch** is to start the whole network from random weights. A **draw** is a set of photos picked at
# random with one seed, and **stored rows** are the results of runs that were made beforehand.
#
# ## Fine-tuning, written out
#
# Here is all of it in plain PyTorch, once. **Data**: batches of 16, flipped and shifted by torchvision, and brought to
# the numbers that the network met in pretraining.

# %%
augment = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(32, padding=4, padding_mode="reflect")])
prepare = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.25] * 3)])
batches = DataLoader(TensorDataset(few.images, few.labels), batch_size=16, shuffle=True)

# %% [markdown]
# (These transforms give a whole batch the same flip and the same shift.) **Network**: freeze the early stages, and put a
# new head with three outputs where the old one had five.

# %%
torch.manual_seed(run.seed)
network = backbones.load_backbone("course_resnet/both")
frozen = nn.ModuleList([network.stem, network.stage1]).requires_grad_(False)
network.head = nn.Linear(network.head.in_features, len(new_classes))

# %% [markdown]
# **Optimiser**: one group of weights for each learning rate. The head knows nothing yet, so it goes ten times as fast.

# %%
backbone = [*network.stage2.parameters(), *network.stage3.parameters()]
groups = [{"params": backbone, "lr": 1e-3}, {"params": network.head.parameters(), "lr": 1e-2}]
optimiser = torch.optim.AdamW(groups)

# %% [markdown]
# **Loop**: guess, compare, send the gradient back, step.

# %%
for _ in range(run.few(30)):
    network.train()
    frozen.eval()  # why? See the third switch below
    for photos, labels in batches:
        loss = cross_entropy(network(prepare(augment(photos))), labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

# %% [markdown]
# **Evaluation**: on photos that took no part. **Guess** how many it gets right; one in three would be chance.

# %%
network.eval()
with torch.no_grad():
    right = network(prepare(valid.images)).argmax(1) == valid.labels
print(f"{right.float().mean():.0%} of the valid photos")

# %% [markdown]
# That is the whole craft, and everything below varies one of these lines. The course's helpers say the same in fewer, keep
# the frozen part's outputs instead of computing them again in every step, and run on a graphics card unchanged:


# %%
def pretrained():
    # One seed: the new head starts the same each time.
    return backbones.load_backbone("course_resnet/both", classes=3, seed=run.seed)


same = freeze(pretrained(), through="stage1")
fit(same, few, size=32, recipe=Recipe(run.few(30), rate=1e-2, head_ratio=10, batch=16, seed=run.seed))
print(f"{accuracy(same, valid, 32):.0%} of the valid photos")

# %%
show.network(same)

# %% [markdown]
# **Takeaway.** The two differ in small things: random draws, weight decay, the views of the photos, and the shape of the rate,
# which in `fit` rises first and then falls to zero. Fine-tuning is a handful of decisions: what is frozen, how fast the rest
# moves, for how long.
# <!-- live -->


# %%
def one_step(model, optimiser):
    cross_entropy(model(model.preprocess(few.images[:16])), few.labels[:16]).backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=False)


# %% [markdown]
# ## Three switches
#
# **Switch 1: the gradient.** `requires_grad_(False)` tells autograd to leave a tensor alone. After one step the stem
# has not moved, and the next stage has.

# %%
model = pretrained()
before = {name: tensor.clone() for name, tensor in model.named_parameters()}
model.stem.requires_grad_(False)
one_step(model, torch.optim.AdamW(model.parameters(), lr=1e-3))
moved = backbones.drift(before, model)
assert not any(name.startswith("stem.") for name in moved)
print("tensors of the stem that moved:", sum(name.startswith("stem.") for name in moved))  # NBVAL_CHECK_OUTPUT
print("tensors of stage1 that moved:", sum(name.startswith("stage1.") for name in moved))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# The optimiser holds the stem too, but AdamW skips a tensor that has no gradient.
#
# **Switch 2: the optimiser.** It keeps its own list of tensors. Suppose that everything trains for a few steps, and then we
# freeze the stem, to save time. The gradients are set to zero after each step, as many older loops do
# (`zero_grad(set_to_none=False)`). **Guess:** does the stem hold still from now on?

# %%
model = pretrained()
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(3):
    one_step(model, optimiser)
model.stem.requires_grad_(False)
before = {name: tensor.clone() for name, tensor in model.stem.named_parameters()}
one_step(model, optimiser)
print("tensors of the stem that moved:", len(backbones.drift(before, model.stem)))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# It moved: a gradient of zeros is a gradient. AdamW remembers the direction of the steps before (**momentum**) and goes on in
# it, and it pulls every weight a little towards zero (**weight decay**). Today's default, `set_to_none=True`, takes the gradients away, and then the stem would hold still. To be safe, a
# frozen weight belongs in no optimiser. `backbones.parameter_groups` hands over only what trains.
#
# **Switch 3: batch-norm's statistics.** Batch-norm scales each channel by a mean and a variance that it has gathered (lesson
# 2). They are no weights, they have no gradient, and no optimiser holds them. They move whenever the network runs in
# training mode.

# %%
model = pretrained().requires_grad_(False)
before = {name: tensor.clone() for name, tensor in model.stem.state_dict().items()}
model.train()
model(model.preprocess(few.images))
print("moved all the same:", list(backbones.drift(before, model.stem)))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# That is why our loop said `frozen.eval()`. `freeze` turns switches 1 and 3, and they stay turned when somebody calls
# `model.train()`. `fit` turns the second: its optimiser receives only what trains. We freeze the backbone, train the head
# for real, and ask what moved.

# %%
model = freeze(pretrained(), through="pool")  # all but the head
before = model.frozen_state()
fit(model, few, size=32, recipe=Recipe(epochs=run.few(30), rate=1e-2, batch=16, fixed_views=True))
drift = backbones.drift(before, model)
assert drift == {}
print("frozen weights and statistics that moved:", len(drift))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ### Exercise 3.1: find the batch-norm bug
#
# This loop means to train nothing but the head. It runs, the loss falls, and the backbone changes all the same. Find
# the line, and mend it. Hint: which of the three switches is missing?


# %% tags=["exercise"]
def train_head(model, photos, epochs=5):
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    optimiser = torch.optim.AdamW(model.head.parameters(), lr=1e-2)
    for _ in range(epochs):
        model.train()
        loss = cross_entropy(model(model.preprocess(photos.images)), photos.labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model


# %% tags=["solution"]
def train_head(model, photos, epochs=5):
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    optimiser = torch.optim.AdamW(model.head.parameters(), lr=1e-2)
    for _ in range(epochs):
        model.eval()  # batch-norm uses its stored statistics, and leaves them alone
        loss = cross_entropy(model(model.preprocess(photos.images)), photos.labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model


# %%
course.check("3.1", train_head)

# %% [markdown]
# ## The freezing lab
#
# Below is the same network. Move a control: when you let go, a training run starts on your photos, and the curves grow
# while it runs. A new move cancels it and starts over. **Before each move, predict what the blue curve will do.**
#
# 1. *Freeze through*: from `nothing` to `stage3`. What happens to the time of a step, and what to accuracy?
# 2. *Head : backbone rate*: from `10 : 1` to `1 : 1`, with nothing frozen. The head's rate stays at 0.01, so at `1 : 1`
#    the backbone moves at 0.01 too.
# 3. *Photos per class*: 2, then 100. Where does the gap between the two curves go? (A run lasts 12 epochs, so more photos
#    also make more steps.)
# 4. *Pretrained on*: *both_small* has both sources, but only as many photos as *vehicles* or *animals* alone. And *from
#    scratch*: does any setting help? It may be that none does.
#
# *Keep* the runs that you want to compare.

# %%
watched = valid.take(run.few(100, quick=12), seed=run.seed)
lab = course.freezing_lab(train, watched, epochs=run.few(12, quick=6))
lab

# %% [markdown]
# **Takeaway.** What is frozen takes no time in a step: its outputs are computed once, before. What it costs in accuracy
# depends on the photos. And change the seed alone: a difference that another draw can undo is no finding. For findings
# we need rows.
# <!-- live -->
#
# ## Six ways to fine-tune
#
# | method | what trains |
# |---|---|
# | head only | the head, on frozen features: a linear probe trained by gradient steps |
# | last stage | the head and stage 3 |
# | full | everything, at one rate |
# | full, head 10x | everything, the head ten times as fast: **discriminative learning rates** |
# | gradual unfreezing | the head; then stage 3 too; then stage 2; ... each for a fifth of the epochs |
# | head, then full | **linear probe then fine-tuning**: half of the epochs the head alone, half of them everything |
#
# In code, a way is where we freeze and which recipe we use. All have the same number of epochs, and see the same 20
# photos per class, each in the same four augmented views. (Full fine-tuning could see fresh views in every epoch. A
# frozen backbone's features are computed beforehand, so we give all ways the same.) The rates are those that the stored
# rows chose.


# %%
def recipe(rate, share=1.0, **changes):
    epochs = max(1, round(run.few(30) * share))
    return Recipe(epochs=epochs, rate=rate, batch=16, seed=run.seed, fixed_views=True, **changes)


# %%
models = {"head only": freeze(pretrained(), through="pool")}
models |= {"last stage": freeze(pretrained(), through="stage2")}
models |= {"full": pretrained(), "full, head 10x": pretrained()}
recipes = {"head only": recipe(1e-2), "last stage": recipe(1e-3)}
recipes |= {"full": recipe(1e-3), "full, head 10x": recipe(3e-3, head_ratio=10)}
for name, model in models.items():
    fit(model, few, recipe=recipes[name])

# %%
gradual = models["gradual unfreezing"] = pretrained()
for stage in ("pool", "stage2", "stage1", "stem", None):
    freeze(gradual, through=stage)
    fit(gradual, few, recipe=recipe(1e-2 if stage == "pool" else 1e-3, share=1 / 5))

# %%
two_steps = models["head, then full"] = pretrained()
for stage, rate in {"pool": 1e-2, None: 1e-3}.items():
    freeze(two_steps, through=stage)
    fit(two_steps, few, recipe=recipe(rate, share=1 / 2))

# %%
ours = {name: accuracy(model, valid, 32) for name, model in models.items()}
for name, share in ours.items():
    print(f"{name:<20} {share:.0%} of the valid photos")

# %% [markdown]
# These are single runs. The stored rows come from two kinds of **draws**, all on this one pretrained network:
#
# 1. Five draws *choose*. Every method, scratch included, tries four to eight learning rates, the best of them in the
#    middle, and 900 valid photos choose one for each size. (A learner with 15 photos has no 900 to choose with. We use
#    them so that every way gets the same chance. Phases in which the head trains alone have the rate 0.01 throughout.)
# 2. Twenty other draws *judge*: one run each at that rate, with its own photos, head and order, and test photos read once.
#
# **Guess:** which of the six is ahead of full fine-tuning, and by how much? A dot is a draw. On the right stands what the
# interval allows us to say: *the same within 2 points* where it lies in the grey band altogether; otherwise *more* or *less*
# where it leaves out zero; or else how large a difference it leaves open.

# %%
rows = stats.results("lesson03")
judged = rows.dropna(subset=["test"])


def against(other, ways, *sizes, value="test"):
    """For each way and size, its lead over another way in every draw."""
    lead = {}
    for n, way in itertools.product(sizes, ways):
        name = f"{way} minus {other}" if len(sizes) == 1 else f"{way} minus {other}, {n}"
        lead[name] = stats.differences(stats.select(judged, per_class=n), way, other, value)
    return lead


# %%
others = ["scratch", *(way for way in models if way != "full")]
own = {f"{way} minus full": ours[way] - ours["full"] for way in models if way != "full"}
show.forest(against("full", others, 20), "accuracy, 20 photos per class", own if run.comparable else None)

# %% [markdown]
# **Takeaway.** From scratch we end far behind. The head alone stays behind too. *Last stage* is ahead of full fine-tuning, by a
# point or two. The three refined ways, two rates, gradual unfreezing, and head first, are the same as plain full
# fine-tuning within two points, now that its rate was chosen with the same care.
# <!-- test_at_20_scratch_and_the_head_alone_are_behind --> <!-- test_at_20_refined_ways_are_the_same_as_full -->
# <!-- test_the_last_stage_is_ahead_with_few_photos -->
#
# An interval covers new draws of photos with new heads. It does not cover another pretraining, since all draws share this
# one, nor other test photos. Does the picture change with other amounts of photos?

# %%
shown = ["scratch", "head only", "full", "full, head 10x", "head, then full"]
show.label_curve(judged[judged["method"].isin(shown)], chance=1 / 3)

# %%
show.forest(against("full", others, 5, 100), "accuracy, 5 and 100 photos per class")

# %% [markdown]
# **Takeaway.** With five photos per class it pays to hold things still: last stage, gradual unfreezing, and head first are
# ahead of full fine-tuning, and the head alone is not clearly behind. With a hundred, the head alone is far behind, and
# gradual unfreezing, which gives each depth only a part of the epochs, a little; the others are as good as full within two
# points. A stage that is held keeps its batch-norm statistics too. Is that the reason? No: full fine-tuning that holds
# all statistics, and nothing else, is the same as full within two points at every size, and at five and twenty photos it
# stays behind *last stage*.
# <!-- test_at_5_holding_things_still_pays --> <!-- test_at_100_the_head_alone_is_far_behind_and_most_ways_equal_full -->
# <!-- test_held_statistics_change_little_on_the_course_resnet --> <!-- test_held_statistics_are_not_why_the_last_stage_leads -->
#
# And **time**? Both arms had the same number of epochs. Here both get five times as many, with rates chosen for that.

# %%
longer = against("full", ["full, longer"], 20) | against("scratch", ["scratch, longer"], 20)
show.forest(longer | against("scratch, longer", ["full, longer"], 20), "accuracy, 20 photos per class")

# %% [markdown]
# **Takeaway.** Five times the epochs change neither arm by two points, and the gap stays. At 20 photos per class, each in the
# same four views, it is not time that scratch lacks.
# <!-- test_five_times_the_epochs_do_not_close_the_gap -->
#
# ### Exercise 3.2: a rate for each stage
#
# Howard and Ruder gave every layer its own rate: the head the largest, each stage below it `factor` times less. Write
# `layer_rates(model, rate, factor)`, which returns the optimiser's groups, `{"params": [...], "lr": ...}`, head first.
# Leave out what is frozen, and stages without weights, which use up no factor: with rate 1 and factor 2, the head gets 1,
# stage 3 gets 0.5, stage 2 gets 0.25. Hint: `reversed(model.stages)` starts at the head, and
# `model.get_submodule(name)` is the stage of that name.


# %% tags=["exercise"]
def layer_rates(model, rate, factor):
    return None  # your lines replace this one


# %% tags=["solution"]
def layer_rates(model, rate, factor):
    groups = []
    for name in reversed(model.stages):
        trainable = [p for p in model.get_submodule(name).parameters() if p.requires_grad]
        if trainable:
            groups.append({"params": trainable, "lr": rate})
            rate = rate / factor
    return groups


# %%
course.check("3.2", layer_rates)

# %% [markdown]
# ## How fast?
#
# Every way above needed a learning rate, and five draws to choose it. There is a quicker look, the **learning-rate finder**:
# train a copy for a hundred steps while the rate rises from tiny to huge, and watch the loss. While the rate is too small,
# nothing happens; then the loss falls; then the network breaks. Our own network stays as it is.

# %%
start = pretrained()
tried = training.try_rates(start, few, recipe=Recipe(batch=16, seed=run.seed), steps=run.few(100, quick=12))
assert not backbones.drift(pretrained().state_dict(), start)
show.loss_by_rate(tried)

# %% [markdown]
# Where would you read off a rate? Where the loss is lowest, it is about to rise, so that is too fast. A common rule is to
# take **a tenth of that rate**.
#
# ### Exercise 3.3: read a rate off the curve
#
# Write `read_rate(rates, losses)` for two tensors of the same length. Return a tenth of the rate at which the loss is
# lowest. The loss of a network that broke can be `nan`, which must not count. Hint: `losses.argmin()` is the place of the
# lowest loss, but it takes `nan` for the smallest number of all; `nan_to_num` puts another number in its place.


# %% tags=["exercise"]
def read_rate(rates, losses):
    return None  # your lines replace this one


# %% tags=["solution"]
def read_rate(rates, losses):
    return rates[losses.nan_to_num(torch.inf).argmin()].item() / 10


# %%
course.check("3.3", read_rate)

# %%
mine = read_rate(*(torch.tensor(tried[column].to_numpy()) for column in ("rate", "loss")))
chosen = stats.select(judged, method="full", per_class=20)["rate"].iloc[0]
show.loss_by_rate(tried, {"chosen by five draws": chosen} | ({"read off here": mine} if mine else {}))

# %% [markdown]
# Is such a rate any good? In each of the twenty draws the finder looked at the draw's own 60 photos, and full fine-tuning
# took a tenth of the rate with the lowest loss. No valid photo was needed. And what happens at a rate that is far
# too high, 0.1?

# %%
rates = against("full", ["full, rate found", "full at 0.1"], 20)
rates |= against("scratch", ["full at 0.1"], 20) | against("scratch at 0.1", ["full at 0.1"], 20)
show.forest(rates, "accuracy, 20 photos per class")

# %% [markdown]
# **Takeaway.** The finder's rate is as good as the chosen one within two points, after a few seconds. (The rule, a tenth, was
# picked beforehand, over another one, on the draws that choose.) A rate of 0.1, a hundred times the chosen one, costs
# more than any choice among the pretrained ways: the network ends below one from scratch whose rate was chosen. Over one
# from scratch at this same rate it has no lead that these draws could tell.
# <!-- test_the_finder_is_as_good_as_five_draws_and_valid_photos -->
# <!-- test_a_rate_that_is_too_high_leaves_nothing_of_pretraining -->
# <!-- test_too_high_a_rate_costs_more_than_any_choice_among_the_pretrained_ways -->
#
# Here is the whole range, on valid photos of the five draws that choose: it is a choice that we look at. Our own run at 0.1
# is the star.

# %%
broken = pretrained()
fit(broken, few, recipe=recipe(1e-1))
point = {"ours, at 0.1": (1e-1, accuracy(broken, valid, 32))} if run.comparable else None
at_rates = stats.select(rows[rows["method"].isin(shown[:-1])], per_class=20).dropna(subset=["valid"])
show.label_curve(at_rates, value="valid", x="rate", mine=point, chance=1 / 3)

# %% [markdown]
# (The axis shows the head's rate. The backbone of "full, head 10x" moves ten times more slowly, so its line lies further
# right.) What does the damage look like inside? Choose a network and a stage. Each row starts with one valid photo,
# followed by the photos that this stage finds most alike; a dashed frame marks another class.

# %%
looked_at = valid.take(run.few(60, quick=12), seed=run.seed)
networks = {"pretrained": pretrained(), "fine-tuned": models["full"], "fine-tuned too fast": broken}
banks = {name: training.by_stage(network, looked_at, size=32) for name, network in networks.items()}
queries = [int(i) for label in range(3) for i in (looked_at.labels == label).nonzero()[:2]]
show.network_explorer(banks, looked_at, queries)

# %% [markdown]
# **Takeaway.** Follow one photo from *pretrained* to *fine-tuned* to *too fast*. Careful fine-tuning exchanges some of its
# neighbours, mostly in the late stages. Too fast, and even the stem finds others.
# <!-- live -->
#
# ## Five photos per class: when to stop
#
# Fifteen photos, and more than a million weights. We watch both curves.

# %%
tiny = train.take(per_class=5, seed=run.seed)
overfitted = pretrained()
rows_live = fit(overfitted, tiny, valid, recipe=Recipe(epochs=run.few(60), rate=3e-4, batch=16, augment=False))
show.history(rows_live)

# %% [markdown]
# The network soon knows its fifteen photos by heart, and on photos that it has not seen it is right far less often. The wide
# gap is the sign of **overfitting**. **Early stopping** is the simplest answer: look at valid photos after each epoch, keep
# the weights of the best one, and stop when for some epochs, the **patience**, nothing got better. **Guess** the epoch.

# %%
stopped = pretrained()
watched = valid.take(per_class=run.few(20, quick=4), seed=run.seed)
steady = Recipe(epochs=run.few(60), rate=3e-4, batch=16, augment=False, anneal=False)
looks = training.fit_until_flat(stopped, tiny, watched, 32, steady, patience=8)
best = looks.loc[looks["valid"].idxmax()]
print(f"stopped after epoch {len(looks)}, kept epoch {best['epoch']:.0f}: {best['valid']:.0%} of the watched photos")
for name, model in {"stopped": stopped, "trained on": overfitted}.items():
    print(f"{name}: {accuracy(model, valid, 32):.0%} of all valid photos")

# %% [markdown]
# **Takeaway.** Stopping saves time. But the best of many looks at few photos is partly luck, so
# what it promises on them may be too good. (And who has 15 photos to train on rarely has 60 more to watch.)
# <!-- live -->
#
# What else helps? **Predict** an order: photos flipped and shifted, a hundred times the weight decay, a smaller rate for
# the backbone, fewer layers that train. The stored rows compare each with full fine-tuning without augmentation.

# %%
remedies = ["full", "full, decay x100", "full, head 10x", "last stage", "head only"]
show.forest(against("full, no augmentation", remedies, 5), "accuracy, 5 photos per class")

# %% [markdown]
# **Takeaway.** What helps is to hold most of the network, statistics included: *last stage* is ahead by a few points. Flips and
# shifts, a hundred times the decay and two rates hardly help, if at all. (AdamW shrinks weights by rate times decay in
# each step, and these steps are few. Four views of fifteen photos are still fifteen photos.)
# <!-- test_against_overfitting_only_freezing_helps -->
#
# ## What fine-tuning forgets
#
# The backbone once told airplanes from frogs. Does it still? We put its **original head** back on the fine-tuned backbone,
# and ask about the source classes again. **Guess:** how much is lost after 20 photos each of cats, deer and horses?

# %%
original = backbones.load_backbone("course_resnet/both")
source_valid = data.load("cifar10_photos", "valid").only("airplane", "automobile", "bird", "dog", "frog")
if run.quick:
    source_valid = source_valid.take(per_class=12, seed=run.seed)
remembered = {"before": accuracy(original, source_valid, 32)}
for name, model in models.items():
    asked = copy.deepcopy(model).cpu()
    asked.head = original.cpu().head
    remembered[name] = accuracy(asked, source_valid, 32)
print(*[f"{name:<20} {share:.0%}" for name, share in remembered.items()], sep="\n")

# %% [markdown]
# One in five would be guessing, so a network that has 20 % left has forgotten everything. In the stored rows we count
# what is above guessing: **kept** is what is left of it, 100 % for a network that forgot nothing.

# %%
frozen_loss = remembered["before"] - remembered["head only"]
assert frozen_loss == 0
judged = judged.assign(kept=(judged["source_after"] - 1 / 5) / (judged["source_before"] - 1 / 5))
kept = {m: stats.mean_interval(stats.select(judged, method=m, per_class=100)["kept"]) for m in models}
show.intervals(kept, "kept of the source accuracy above guessing, 100 photos per class")

# %%
moving = ["last stage", "full, head 10x", "gradual unfreezing", "head, then full"]
show.forest(against("full", moving, 20, 100, value="kept"), "kept, 20 and 100 photos per class")

# %% [markdown]
# **Takeaway.** Every way that moves the backbone forgets, and how much is a matter of how far it moves: of rate, steps and depth.
# With twenty per class all four keep more than full fine-tuning does, and are as accurate or better. With a hundred,
# gradual unfreezing and head first still keep more; the first of them pays for it with accuracy, the second hardly. A
# frozen backbone loses nothing, and that is no estimate: it is the same network, bit for bit. (A new head for the old
# classes might win part of a loss back. We did not measure that.)
# <!-- test_every_way_that_moves_the_backbone_forgets --> <!-- test_gentle_ways_keep_more_than_full -->
# <!-- test_a_frozen_backbone_forgets_exactly_nothing -->
# <!-- test_at_100_the_head_alone_is_far_behind_and_most_ways_equal_full -->
#
# ## Photos that training never saw
#
# Noise, a lens out of focus, fog: we corrupt the test photos in three ways, and train on none of them.

# %%
examples = valid.images[:: max(1, len(valid) // 8)][:8]
pictures = [("clean", examples)] + [(name, corrupt(examples)) for name, corrupt in data.CORRUPTIONS.items()]
show.photo_rows(pictures, "Eight valid photos: clean, with noise, blurred, and with low contrast.")

# %% [markdown]
# A known result says: fine-tuning distorts features, so that training the **head first, then everything** does better on
# photos that differ from the training ones (Kumar and others, 2022). Does it hold here? And does pretraining make a network
# sturdier? Again we count what is above guessing, here 1 in 3: **withstood** is the share of it that is left on corrupted
# photos, the mean of the three.

# %%
corrupted = judged[list(data.CORRUPTIONS)].mean(axis=1)
judged = judged.assign(corrupted=corrupted, withstood=(corrupted - 1 / 3) / (judged["test"] - 1 / 3))
show.forest(against("full", ["head, then full"], 5, 20, 100, value="corrupted"), "accuracy on corrupted photos")

# %%
show.forest(against("scratch", ["full", "head only"], 20, 100, value="corrupted"), "accuracy on corrupted photos")

# %%
at_100 = stats.select(judged, per_class=100)
left = {m: stats.mean_interval(stats.select(at_100, method=m)["withstood"]) for m in ["scratch", *models]}
show.intervals(left, "withstood, 100 photos per class")

# %% [markdown]
# **Takeaway.** *Head first, then everything* helps on corrupted photos with five per class, as it does on clean ones. With a
# hundred it is a little behind, and in between it is a matter of at most a few points. (Its backbone had half of the epochs.) And does
# pretraining make a network sturdier? On clean photos it is far ahead of scratch; on the mean of the three corruptions it
# leads by a little with twenty photos per class, and not at all with a hundred. The mean hides opposite signs: with a
# hundred, noise hurts the pretrained network more, and low contrast less. (*Withstood* is kind to weak networks: who has
# little above guessing has little to lose. Low contrast is the hardest of the three: it takes more than half of that
# from every way.)
# <!-- test_head_then_full_helps_under_corruption_at_5_and_not_at_100 --> <!-- test_corruption_takes_the_lead_of_pretraining -->
# <!-- test_low_contrast_is_the_hardest --> <!-- test_noise_and_low_contrast_part_the_two -->
#
# ## Self-test
#
# Write your letters in place of `None` and run the cell.

# %% tags=["exercise"]
course.self_test("03", None, None, None)

# %% tags=["solution"]
course.self_test("03", "b", "c", "a")

# %% tags=["result"]
gain = stats.difference(stats.select(judged, per_class=20), "full", "scratch")
run.result(full_20=ours["full"], gain_20=gain, frozen_loss=frozen_loss, drift=len(drift))

# %% [markdown]
# ## Recap
#
# - Fine-tuning is twenty lines: data, a frozen part, a new head, a rate for each part, a loop, an evaluation.
# - Frozen is three switches: gradient, optimiser, statistics. Turn all three.
# - With five photos per class, holding most of the network still, weights and statistics, was ahead of full fine-tuning;
#   with a hundred the head alone was far behind.
# - Choose the **learning rate** with care, for the baseline too: then most refined ways are no better than the plain one. A
#   finder gives a good start without valid photos.
# - Look at photos that take no part, and **stop** when they get no better.
# - Fine-tuning loses part of the old task, and corruption takes away most of what pretraining gained on the mean. Measure
#   both before you rely on it.
#
# ## References
#
# - J. Howard and S. Ruder, *Universal Language Model Fine-tuning for Text Classification*, 2018,
#   https://arxiv.org/abs/1801.06146: discriminative rates and gradual unfreezing.
# - A. Kumar and others, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*, 2022,
#   https://arxiv.org/abs/2202.10054.
# - D. Hendrycks and T. Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions and Perturbations*, 2019,
#   https://arxiv.org/abs/1903.12261.
# - J. Kirkpatrick and others, *Overcoming catastrophic forgetting in neural networks*, 2017,
#   https://arxiv.org/abs/1612.00796.
# - L. Smith, *Cyclical Learning Rates for Training Neural Networks*, 2017, https://arxiv.org/abs/1506.01186: the range test.
# - L. Prechelt, *Early Stopping, But When?*, 1998.
# - I. Loshchilov and F. Hutter, *Decoupled Weight Decay Regularization*, 2019, https://arxiv.org/abs/1711.05101.
