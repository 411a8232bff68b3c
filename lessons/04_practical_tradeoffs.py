# %% [markdown]
# # 4 · When does it pay, and what does it cost?
#
# *40 minutes. On two CPU cores the cells take about half a minute in all.*
#
# "Transfer works best when the new data are few, and similar to the old." Everybody says so. In this lesson we look it
# up in a map that was measured: five starts, two new tasks, two to five hundred photos per class. We
# - read from it **where transfer pays**, where it makes no difference, and where it hurts;
# - find the sizes at which the lines of two methods **cross**;
# - weigh accuracy against **time, memory and operations**;
# - get advice that is **computed from the rows**, so that other rows would give other advice;
# - run a slice of the map ourselves, and learn how to run all of it on more machines.

# %% tags=["parameters"]
profile = "auto"  # or "cpu" or "gpu", to choose yourself
quick = False  # True: a few steps only, to see that everything works
home = None  # a folder of your own for downloads, features and models, such as one on a mounted Drive

# %%
import tempfile
from pathlib import Path

import pandas as pd

from transfer_utils import backbones, course, show, stats

run = course.settings(profile, quick, home)
print(run)

# %% [markdown]
# ## The grid
#
# Everything below rests on one table. Each of its rows is one run:
#
# | setting | values |
# |---|---|
# | source | *scratch* (random weights); pretrained on *vehicles*, on *animals*, on *both_small* (both, no more photos than either), on *both* (two and a half times as many) |
# | target, the new task | *vehicles*: ship or truck; *animals*: cat, deer or horse. No source has these classes |
# | photos per class | 5, 20, 100, 500; linear probes also 2, 10, 50, 200 |
# | method | *scratch*; *linear probe*, *last stage*, *full*, and, up to 100, *head, then full*, as in lesson 3 |
# | seed | five; each has its own photos, its own new head, and its own pretrained network |
#
# What is **the same for all** makes the comparison fair: the photos and their four augmented views, the number of epochs,
# and the care. Every trained method tried three learning rates, every probe five penalties. The *valid* photos chose
# among them. Test photos were read once a row, and chose nothing. Since scratch might need more time, *scratch, longer*
# has five times the epochs, at one rate. One thing is not as in real life: there are 300 valid photos per class, also
# where we train on five. With so few we could not choose as well.

# %%
rows = stats.results("sweep")
kept = course.chosen(rows)
print(f"{len(rows)} runs, of which the valid photos chose {len(kept)}")
ours, imagenet = (stats.select(kept, network=network) for network in ("course_resnet", "efficientnet_lite0"))
settings = ["network", "source", "target", "method", "per_class", "seed", "rate"]
ours[[*settings[1:], "penalty", "valid", "test"]].sample(5, random_state=0)

# %% [markdown]
# ### A slice of it, now
#
# The table was made by `stats.sweep`: it takes a function and a list of jobs, hands the jobs to worker processes, and
# appends each row as it comes. We run a few of its jobs: ship or truck with five photos per class, pretrained on
# *vehicles* and from scratch. A job is what a row's settings say.

# %%
here = stats.select(rows, network="course_resnet", target="vehicles", per_class=5, seed=0)
wanted = here.query("method == 'scratch' or (source == 'vehicles' and method == 'full')")
jobs = wanted[settings].to_dict("records")[:: 3 if run.quick else 1]
print(len(jobs), "jobs, the first one:", jobs[0])

# %%
mine = Path(tempfile.mkdtemp()) / "mine.csv"
slice_of_it = stats.sweep(mine, course.trained, jobs, workers=2)
slice_of_it[["source", "rate", "valid", "test", "seconds", "flops", "memory_mb"]]

# %% [markdown]
# A sweep that was stopped goes on where it was. We ask for the same jobs again: all of them are in the file, so nothing
# runs.

# %%
again = stats.sweep(mine, course.trained, jobs, workers=2)
assert again.equals(slice_of_it)
print("new runs:", len(again) - len(slice_of_it))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# Do our rows agree with the stored ones? On another processor sums are added in another order, and small differences
# grow during training.

# %%
both_tables = slice_of_it.merge(rows, on=settings, suffixes=("", "_stored"))
off = (both_tables["valid"] - both_tables["valid_stored"]).abs()
print(f"{len(both_tables)} rows compared; mean deviation of valid accuracy {off.mean():.1%}, largest {off.max():.1%}")

# %% [markdown]
# ## Where it pays
#
# The **gain** is accuracy on test photos minus that of the same network from scratch, on the same draw.
# `stats.difference` computes it: from the rows of one side it subtracts those of the other, seed by seed. A side is named
# by what stands in its columns, or, in short, by its method. Below, the gain of full fine-tuning is in points, with half
# its 95 % interval. In brackets: the interval holds zero, so five draws cannot tell. **Guess first:** in which corner is
# the largest gain?


# %%
def gain(source, target, method, per_class, over="scratch"):
    here = stats.select(ours, target=target, per_class=per_class)
    return stats.difference(here, {"source": source, "method": method}, over)


# %%
sources, targets = ["vehicles", "animals", "both_small", "both"], list(ours["target"].unique())
sizes = sorted(stats.select(ours, method="full")["per_class"].unique())


def gains(target, method, over="scratch"):
    return {(s, f"{n} per class"): gain(s, target, method, n, over) for s in sources for n in sizes}


# %%
show.grid(gains("vehicles", "full"), "ship or truck: gain of full fine-tuning over scratch", gains=True)

# %%
show.grid(gains("animals", "full"), "cat, deer or horse: gain of full fine-tuning over scratch", gains=True)

# %% [markdown]
# **Takeaway.** With as many steps for both, full fine-tuning is ahead nearly everywhere, and clearly behind nowhere. From
# twenty photos per class on, *both*, the source with the most photos, gains most. With five per class the intervals are
# wide: draws of so few photos differ a lot.
#
# So much for "when the new data are few": for ship or truck the gains shrink as photos come in, for cat, deer or horse they
# grow. Is that so, or had scratch too little time? **Guess**, then look: here
# scratch trains five times as long.

# %%
show.grid(
    gains("vehicles", "full", "scratch, longer"), "ship or truck: gain over scratch with 5x the epochs", gains=True
)

# %%
show.grid(
    gains("animals", "full", "scratch, longer"), "cat, deer or horse: gain over scratch with 5x the epochs", gains=True
)

# %% [markdown]
# **Takeaway.** It was a matter of time, in one column. At 500 per class, the sources of 3,400 photos can no longer be told
# from scratch: given photos and time, scratch catches up (He and others found the same on a far larger scale). *both* stays
# ahead. With five or twenty photos, we cannot tell that more time helps scratch at all.
#
# ### Exercise 4.1: your own gain
#
# Write `my_gain(rows, source, target, method, per_class)`: the mean over the seeds of the difference in `test` between
# that method and scratch. Pair them by seed yourself, without `stats.difference`. Hint: `stats.select(rows,
# source=source, ...)` gives the rows, and `.set_index("seed")["test"]` lets pandas subtract seed from seed. Scratch has
# `source="scratch"` and `method="scratch"`. Try it on `ours`.


# %% tags=["exercise"]
def my_gain(rows, source, target, method, per_class):
    return None  # your lines replace this one


# %% tags=["solution"]
def my_gain(rows, source, target, method, per_class):
    here = stats.select(rows, target=target, per_class=per_class)
    tuned = stats.select(here, source=source, method=method).set_index("seed")["test"]
    scratch = stats.select(here, source="scratch", method="scratch").set_index("seed")["test"]
    return (tuned - scratch).mean()


# %%
course.check("4.1", my_gain)

# %% [markdown]
# ## Where the lines cross
#
# A frozen backbone costs little, but it cannot learn what it does not know. **Guess:** from how many photos per class on
# is scratch better than a linear probe, if scratch has time? We start with a source that is like the target.

# %%
methods = ["scratch", "scratch, longer", "linear probe", "last stage", "full"]


def lines(source, target):
    kept = ours[ours["method"].isin(methods[:2]) | ((ours["source"] == source) & ours["method"].isin(methods[2:]))]
    return stats.select(kept, target=target).sort_values("method", key=lambda names: names.map(methods.index))


# %%
show.label_curve(lines("animals", "animals"), chance=1 / 3)

# %%
pairs = [(source, target) for target in targets for source in sources]
probes = {
    (f"{s} to {t}", f"{n} per class"): gain(s, t, "linear probe", n, "scratch, longer") for s, t in pairs for n in sizes
}
show.grid(probes, "linear probe minus scratch with 5x the epochs", gains=True)

# %% [markdown]
# **Takeaway.** A frozen backbone gains while photos are few; then its line flattens, and the others rise past it. With
# five hundred photos per class it is behind nearly everywhere. From *vehicles* to animals it is never ahead. The other way
# round it is: planes and cars taught less about cats and deer than birds, dogs and frogs taught about ships.
#
# The same question along the other axis: how many photos per class does scratch with time need to be as good as a linear
# probe with ten? We read it off between the four stored sizes. Means of such numbers are geometric.

# %%
needed = {}
for target in targets:
    found, missed = course.photos_needed(ours, "both", target, "linear probe", per_class=10, over="scratch, longer")
    needed[target] = found
    print(f"{target}: {found.mean:.0f} [{found.low:.0f}, {found.high:.0f}] photos per class; never: {missed} of 5")

# %% [markdown]
# ## Does similarity decide?
#
# A source that is like the target should help more. But *vehicles* may also just be the better source for everything.
# The crossed design separates the two. We take what the similar source gives *more* than the other one, on both targets,
# and average: whatever is good for everything cancels. This is the **interaction** of source and target. Both sources
# have the same number of photos.

# %%
crossed = ours[ours["source"].isin(targets)]  # a source has the name of the target that is like it
crossed = crossed.assign(similar=crossed["source"] == crossed["target"])
means = crossed.groupby(["method", "per_class", "similar", "seed"], as_index=False)["test"].mean()

# %%
for method in ("linear probe", "last stage", "full"):
    for size in sizes:
        here = stats.select(means, method=method, per_class=size)
        worth = stats.difference(here, {"similar": True}, {"similar": False})
        print(f"{method}, {size} per class: the similar source is worth {worth}, {worth.verdict}")

# %% [markdown]
# Is it the same for both targets?

# %%
for target in targets:
    for size in sizes:
        here = stats.select(crossed, target=target, method="linear probe", per_class=size)
        worth = stats.difference(here, {"similar": True}, {"similar": False})
        print(f"probe on {target}, {size} per class: similar source minus the other: {worth}, {worth.verdict}")

# %% [markdown]
# And what are **more photos of everything** worth? *both* has two and a half times those of *both_small*, or of the similar
# source.

# %%
full = stats.select(ours, method="full").groupby(["source", "per_class", "seed"], as_index=False)["test"].mean()
for size in sizes:
    amount = stats.difference(stats.select(full, per_class=size), {"source": "both"}, {"source": "both_small"})
    print(f"full, {size} per class: both minus both_small: {amount}, {amount.verdict}")
for target in targets:
    for size in sizes:
        here = stats.select(ours, target=target, method="linear probe", per_class=size)
        amount = stats.difference(here, {"source": "both"}, {"source": target})
        print(f"probe on {target}, {size} per class: both minus the similar source: {amount}, {amount.verdict}")

# %% [markdown]
# **Takeaway.** Similarity is real, at equal amount. A frozen backbone needs it most, and less so as photos come in. Nearly all
# of it comes from the animals: for ship or truck we cannot tell, or it is turned round. For full fine-tuning with five and
# with five hundred photos we cannot tell either. And amount matters at least as much: *both*, which holds the similar
# source and more, is never clearly worse than it. So take the similar source where amounts are equal; take the larger one
# where it holds the similar one too.
#
# ### Can we compute it beforehand?
#
# Two numbers might tell us which source to take, before any training:
#
# - **nearness**: how near each new class lies to the nearest class of the source, by the mean features of a neutral network
#   (the ImageNet one). It needs labelled photos of both, here a hundred per class, and no network pretrained on the source.
# - **alignment**: how far the new classes already lie apart in the source network's frozen features (centred kernel
#   alignment). It needs that network, and the twenty labelled photos per class that the probe has too.
#
# The five held-out classes make ten tasks of two classes each. For each task and source we know both numbers, and the
# gain of a linear probe over the same network with random weights. **Guess:** which number follows the gain?

# %%
table = course.gains_by_task(stats.results("similarity"))
measured = ["alignment", "nearness", "gain"]
table.round(3).sample(4, random_state=1)

# %% [markdown]
# Some tasks gain more from every source, which does not help to choose one. So we take off each task's mean.

# %%
within = table.copy()
within[measured] -= table.groupby("task")[measured].transform("mean")
show.against(within, "alignment", "gain", "source", "alignment, minus the task's mean", "gain, minus the task's mean")

# %%
show.against(within, "nearness", "gain", "source", "nearness, minus the task's mean", "gain, minus the task's mean")

# %%
for measure in ("alignment", "nearness"):
    for name, part in {"all": table, "equal amount": table[table["source"] != "both"]}.items():
        r = course.correlation(part, measure)
        print(f"{measure:<9} and gain, {name:<12}: r = {r.mean:.2f} [{r.low:.2f}, {r.high:.2f}], {r.verdict}")

# %% [markdown]
# Does the number pick the best source? In how many of the ten tasks?


# %%
def favourites(column):
    return table.loc[table.groupby("task")[column].idxmax()].set_index("task")["source"]


# %%
best = favourites("gain")
for measure in ("alignment", "nearness"):
    print(f"{measure:<9} picks the best source in {(favourites(measure) == best).sum()} of {len(best)} tasks")
print(f"'always both' picks it in {(best == 'both').sum()} of {len(best)}")

# %% [markdown]
# **Takeaway.** Both numbers follow the gain, also among sources of equal amount (r is 1 for a straight line, and 0 for none).
# But neither picks as well as the rule "take the largest": nearness does not know about amounts. So use them among
# sources of equal size. (The ten tasks share five classes, so the truth is less certain than these intervals, which draw
# tasks anew.)
#
# ## Where it hurts
#
# **Negative transfer** is a gain below zero: scratch would have been better. We look through all cells of the grid.

# %%
cells = [(s, t, m, n) for s in sources for t in targets for m in methods[2:] for n in sizes]
found = {over: {cell: gain(*cell, over) for cell in cells} for over in ("scratch", "scratch, longer")}
for over, gains_found in found.items():
    count = pd.Series([str(worth.verdict) for worth in gains_found.values()]).value_counts()
    print(f"over {over}: {count.to_dict()}; by chance alone about {0.025 * len(cells):.0f} in 'less'")

# %%
for over, gains_found in found.items():
    for (source, target, method, size), worth in gains_found.items():
        if worth.verdict == "less":
            print(f"{method}, {source} to {target}, {size} per class, over {over}: {worth}")

# %% [markdown]
# **Takeaway.** Over scratch with as many steps, the few cells are one case: *vehicles*, frozen, on animals. As many would be
# there by chance if no gain were real, but these lie far from zero and belong together. Over scratch with time, nearly
# every probe hurts at 500 per class. Probes are fitted to the end, so more time would not help them: here, harm comes from
# *staying* with what the source taught. (The last stage had a fifth of that scratch's training. For it we cannot say which
# of the two is the cause.) Full fine-tuning is in neither list.
#
# ## What it costs
#
# Accuracy is one side. The other: **seconds**, **memory**, and **operations** (FLOPs, floating-point operations), which
# do not depend on how busy the machine was and stand in for energy. Memory is that of weights, gradients, optimiser and
# one batch, computed as in lesson 3; for a probe, that of weights and stored features.

# %%
order = ["scratch", "scratch, longer", "linear probe", "last stage", "head, then full", "full"]
at_20 = course.advice(ours, "both", "animals", 20).set_index("method").loc[order]
here = stats.select(ours, target="animals", per_class=20)
here = here[(here["source"] == "both") | here["method"].isin(order[:2])]
memory = here.groupby("method")["memory_mb"].first()
shown = at_20.assign(memory_mb=memory, tflops=at_20["flops"] / 1e12)
shown[["mean", "low", "high", "seconds", "memory_mb", "tflops"]].round(3)

# %% [markdown]
# Seconds are medians of five, each on one thread while another run used the second core. The machine's pace changed between
# runs, so we compare operations. A method is on the **Pareto front** when no other one is both cheaper and better.

# %%
reached = {method: stats.mean_interval(stats.select(here, method=method)["test"]) for method in order}
points = {method: (shown.loc[method, "tflops"], reached[method]) for method in order}
show.tradeoff(points, "TFLOPs of one training, 20 photos per class of cat, deer and horse")

# %% [markdown]
# ### Exercise 4.2: the Pareto front
#
# Write `front(points)`, where `points` is `{name: (cost, accuracy)}`: the names that no other point beats, cheapest first.
# Hint: go through the points from cheap to dear, and keep each one that is better than all before it.


# %% tags=["exercise"]
def front(points):
    return None  # your lines replace this one


# %% tags=["solution"]
def front(points):
    kept, best = [], 0
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if points[name][1] > best:
            kept.append(name)
            best = points[name][1]
    return kept


# %%
course.check("4.2", front)

# %% [markdown]
# **Takeaway.** Neither scratch nor full fine-tuning is on the front: something cheaper is at least as good in the mean. A
# probe costs least by far, and is clearly ahead of scratch. (Neighbours on the front overlap: five draws do not
# order all of them.)
#
# How much sooner is transfer where scratch ends up? While they trained, all runs looked at the same valid photos now and
# then. We take the best look of scratch, and the first look of full fine-tuning that is as good. Both train the whole
# network for as many steps, so what holds for steps holds for time and for operations.

# %%
saved = {}
for target in targets:
    for size in sizes:
        times, missed = course.work_saved(ours, "both", target, size)
        saved[target, size] = times
        interval = f"{times.mean:.1f} [{times.low:.1f}, {times.high:.1f}]"
        print(f"{target}, {size} per class: {interval} times sooner; never: {missed} of 5")

# %% [markdown]
# Somebody had to pay for the pretraining. What did that cost, and when has it paid back?

# %%
card = backbones.load_backbone("course_resnet/both").card
fresh = backbones.course_resnet(len(card["classes"]))
paid = card["photos"] * card["recipe"]["epochs"] * backbones.step_flops(fresh, 32, 2) / 2
spared = at_20.loc["scratch", "flops"] - at_20.loc["linear probe", "flops"]
print(f"pretraining: {paid / 1e12:.0f} TFLOPs; a probe instead of scratch spares {spared / 1e12:.2f} at 20 per class")
print(f"paid back after {paid / spared:.0f} tasks of this size")

# %% [markdown]
# **Takeaway.** From *both*, full fine-tuning is there in fewer steps in every setting, and in all but one the interval says so.
# (Both runs lower their rate towards the end, so scratch peaks late. We did not try a shorter run of it.) But count the
# pretraining, and a single task does not pay it back: it pays when many tasks share it, or when somebody else has done it
# already. (Counted is one training each, without the search for a rate.)
#
# ## A much larger source
#
# Most people do not pretrain: they download a network that has seen ImageNet. Ours is EfficientNet-Lite0. It does **not**
# belong on the axis of similarity: ImageNet *has* cats, horses, ships and trucks, and this network sees larger pictures. So
# it gets its own panel, with its own scratch twin. (Its rates are its own too, as many for both. It falls apart when all
# of it starts moving at once, so here fine-tuning means *head, then full*.)

# %%
panel = imagenet[(imagenet["source"] == "imagenet") | (imagenet["method"] == "scratch")]
panel = panel.sort_values("method", key=lambda names: names.map(order.index))
show.label_curve(stats.select(panel, target="animals"), chance=1 / 3)

# %%
show.label_curve(stats.select(panel, target="vehicles"), chance=1 / 2)

# %%
for target in targets:
    for size in sorted(imagenet["per_class"].unique()):
        of = stats.select(panel, target=target, per_class=size)
        probe = stats.difference(of, "linear probe", "scratch")
        tuned = stats.difference(of, "head, then full", "linear probe")
        print(f"{target}, {size} per class: probe minus scratch twin: {probe}, {probe.verdict}")
        print(f"{target}, {size} per class: head, then full, minus probe: {tuned}, {tuned.verdict}")

# %% [markdown]
# **Takeaway.** The largest gains of this lesson, over a twin that a few epochs hardly move from guessing. (Lesson 0 gave such a
# twin more time.) And a warning: with our recipe, *head, then full* ends below the probe, at every size. Why? The head's
# own phase is short; batch-norm takes its statistics from a handful of photos; and mostly the largest of the three rates
# was chosen, so another might do better. We did not test which it is here; lesson 5 tests the
# second. Compare with the probe before you trust a fine-tuned network. (All five draws share this one pretrained network.)
#
# ## A decision guide
#
# Now the whole map, one setting at a time. The sentence above the chart is computed from the rows by a rule: find the method
# that is best on valid photos; keep those that we cannot tell from it; take the one with the fewest operations. The chart
# shows what they all reach on test photos. **Try:** when does the advice change from the probe to fine-tuning?

# %%
course.method_explorer(ours)


# %%
def pick(source, target, size):
    table = course.advice(ours, source, target, size)
    return table.loc[table["pick"], "method"].item()


# %%
picks = {(f"{s} to {t}", f"{n} per class"): pick(s, t, n) for s, t in pairs for n in sizes}
pd.Series(picks).unstack(sort=False)

# %% [markdown]
# **Takeaway.** The picks move from cheap to dear as photos come in, but not in order: they turn on small differences. The
# probe is picked only where photos are few, full fine-tuning only where they are many. A warning: five draws with wide
# intervals make the rule lean towards what is cheap. It says what these rows cannot rule out, not what is equal. And all
# of it is about photos; lesson 8 asks the same of text.
#
# ## Three sentences, judged
#
# "Transfer learning saves time, needs less data, improves accuracy." Here is what our rows say, for *both* as the source:
# full fine-tuning at 20 photos per class against scratch in steps; a probe with ten against scratch with time in photos; and
# the gain of full fine-tuning at 20.

# %%
accuracy = {target: gain("both", target, "full", 20) for target in targets}
for target in targets:
    print(f"{target}: saves time: {'yes' if saved[target, 20].low > 1 else 'cannot tell'}")
    print(f"{target}: needs less data: {'yes' if needed[target].low > 10 else 'cannot tell'}")
    print(f"{target}: improves accuracy at 20 per class: {accuracy[target]}, {accuracy[target].verdict}")

# %% [markdown]
# ## Your own map, on more machines
#
# `stats.sweep` needs a function that returns rows, and jobs. The function must be importable, so write it into a file. More
# cores? Say `workers=8`. A cluster? Install the course's extra `cluster`, and the same call runs on
# [Ray](https://docs.ray.io):
#
# ```python
# stats.sweep(Path("mine.csv"), my_module.my_run, jobs, workers=64, backend="ray")
# ```
#
# The page `docs/cluster.md` shows how to point it at a cluster of your own. Rows are the same on either: each run depends on
# its settings and its seed alone. Three habits are built in: one thread for each worker, since two that fight for a core
# are slower than one; a run that fails becomes a row with its error, while the others go on; and a killed sweep loses
# nothing that was finished.
#
# ## Self-test
#
# Write your letters in place of `None` and run the cell.

# %% tags=["exercise"]
course.self_test("04", None, None, None)

# %% tags=["solution"]
course.self_test("04", "b", "a", "c")

# %% tags=["result"]
run.result(
    full_gain_20=accuracy["animals"].mean,
    gain_20=accuracy["animals"],
    needed=needed["animals"],
    hurts=sum(worth.verdict == "less" for worth in found["scratch"].values()),
    deviation=off.mean(),
)

# %% [markdown]
# ## Recap
#
# - Transfer helped nearly everywhere that scratch had no more steps. With five hundred photos per class and time, scratch
#   caught up with the smaller sources, and not with the largest one.
# - A **frozen** backbone is cheap and strong with few photos, and behind with many. From *vehicles* it was never ahead on
#   animals: **negative transfer** came from staying with what the source taught.
# - **Similarity** is worth most to a frozen backbone with few photos. A larger source that holds the similar one was never
#   clearly worse.
# - Give the baseline time before you believe a gain, and count the pretraining before you believe a saving.
# - A measured map answers for its own photos. Make your own with `stats.sweep`.
#
# ## References
#
# - J. Yosinski and others, *How transferable are features in deep neural networks?*, 2014, https://arxiv.org/abs/1411.1792.
# - S. Kornblith, J. Shlens and Q. Le, *Do Better ImageNet Models Transfer Better?*, 2019,
#   https://arxiv.org/abs/1805.08974.
# - K. He, R. Girshick and P. Dollár, *Rethinking ImageNet Pre-training*, 2018, https://arxiv.org/abs/1811.08883: scratch
#   catches up when there are enough data and time.
# - Z. Wang and others, *Characterizing and Avoiding Negative Transfer*, 2019, https://arxiv.org/abs/1811.09751.
# - C. Cortes, M. Mohri and A. Rostamizadeh, *Algorithms for Learning Kernels Based on Centered Alignment*, 2012,
#   https://jmlr.org/papers/v13/cortes12a.html.
# - Y. Cui and others, *Large Scale Fine-Grained Categorization and Domain-Specific Transfer Learning*, 2018,
#   https://arxiv.org/abs/1806.06193: nearness of data sets by the means of their features.
# - R. Schwartz and others, *Green AI*, 2019, https://arxiv.org/abs/1907.10597: report operations beside accuracy.
