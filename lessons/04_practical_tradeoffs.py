# %% [markdown]
# # 4 · When does it pay, and what does it cost?
#
# *40 minutes. On two CPU cores the cells take about half a minute in all.*
#
# "Transfer works best when the new data are few, and similar to the old." Everybody says so. In this lesson we look it up
# in a map that was measured, and then advise a project. We
# - read from the map **where transfer pays**, where it makes no difference, and where it hurts;
# - find where frozen features and fine-tuning **cross**;
# - weigh accuracy against **operations**, and pretraining against what it spares;
# - turn the rows into **advice**, test the advice, and apply it to four projects.

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
# ## The map
#
# Everything below rests on one table. Each of its rows is one run of the course's own ResNet:
#
# | setting | values |
# |---|---|
# | source: pretrained on | *vehicles* (airplane, automobile) or *animals* (bird, dog, frog), 3,400 photos each; *both*, all 8,500 photos of the five; *scratch*: nothing, random weights |
# | target: the new task | *vehicles* (ship, truck) or *animals* (cat, deer, horse): no source has these classes |
# | photos per class | 5, 20, 100, 500 |
# | method | *scratch*, *linear probe*, *last stage*, *full*, as in lesson 3 |
#
# - **Five draws choose** learning rates and penalties (how hard a probe's weights are held down), by the valid photos.
#   One choice for each method and size serves all sources and targets.
# - **Eight other draws judge**, on test photos. Each has training photos, a new head and a pretraining of its own.
# - An **interval** covers just that: other photos, heads and pretrainings. It does not cover other test photos or other
#   tasks.
# - Every training sees the same four views of each photo, for as many **epochs**: 60, 30, 12 and 5, with 5, 20, 100 and
#   500 photos per class. A probe is fitted to the end.
# - We *agree* that up to **two points** of accuracy, either way, do not matter.
#
# Choose a setting, and **guess** before each move: which method is ahead, and by how much? (*Longer* is five times the
# epochs; we come to it.)

# %%
rows = stats.results("lesson04")
judged = rows.dropna(subset=["test"])
course.method_explorer(judged)

# %% [markdown]
# **Takeaway.** With five photos per class all methods are uncertain. The more photos, the better it is to train more
# layers, and the probe falls behind.
# <!-- live -->
#
# ### Does it come out again, here?
#
# You need not believe stored rows. `stats.sweep` hands a list of jobs to two worker processes, and stores each row as it
# comes. We run the first judging draw again, for ship or truck with five photos per class.

# %%
settings = ["source", "target", "method", "per_class", "seed", "rate"]
stored = stats.select(judged, target="vehicles", per_class=5, seed=5).dropna(subset=["rate"])  # a probe has no rate
jobs = stored[settings].to_dict("records")[: run.few(7, quick=2)]
mine = stats.sweep(Path(tempfile.mkdtemp()) / "mine.csv", course.trained, jobs, workers=2)

# %%
compared = mine.merge(stored, on=settings, suffixes=("", "_stored"))
off = (compared["test"] - compared["test_stored"]).abs()
print(f"{len(compared)} runs; mean deviation from the stored accuracy {100 * off.mean():.1f} points")

# %% [markdown]
# On the same type of processor it is near zero. On another one sums are added in another order, and small differences
# grow while a network trains. (A sweep that was stopped goes on where it was. `docs/cluster.md` shows how it runs on
# more machines.)
#
# ## Where it pays
#
# The **gain** is accuracy minus that of the same network from scratch, on the same draw, after as many epochs.
# `stats.difference` subtracts draw by draw. The figure shows the gain of full fine-tuning in points, ± half the width of
# its 95 % interval. Brackets: the interval holds zero. **Guess first:** in which corner is the largest gain?


# %%
def gain(source, target, method, per_class):
    here = stats.select(judged, target=target, per_class=per_class)
    return stats.difference(here, {"source": source, "method": method}, "scratch")


# %%
sources, targets, sizes = ["vehicles", "animals", "both"], ["vehicles", "animals"], [5, 20, 100, 500]
places = [(source, target, size) for target in targets for source in sources for size in sizes]
full = {(f"{s} to {t}", f"{n} per class"): gain(s, t, "full", n) for s, t, n in places}
show.grid(full, "gain of full fine-tuning over scratch", gains=True)

# %% [markdown]
# **Takeaway.** From twenty photos per class on, full fine-tuning is ahead of scratch from every source for either
# target, and *both* gains most. With five it is nowhere clearly behind, but draws of so few photos differ a lot. The
# saying is half right: for ship or truck, the gain from *both* shrinks as photos come in. For cat, deer or horse it
# does not.
# <!-- test_full_is_ahead_of_scratch_from_20_on --> <!-- test_with_five_full_is_nowhere_clearly_behind -->
# <!-- test_both_gains_most_from_20_on --> <!-- test_gains_shrink_with_photos_for_vehicles_and_not_for_animals -->
#
# From here on we mostly take the mean over the two targets, and name a source by what it is to the target: the
# *similar* one (*animals* for cat, deer or horse), the *other* one, or *both*.

# %%
kinds = judged.assign(kind="other")
kinds.loc[kinds["source"] == kinds["target"], "kind"] = "similar"
kinds.loc[kinds["source"].isin(["both", "scratch"]), "kind"] = kinds["source"]
means = kinds.groupby(["kind", "method", "per_class", "seed"], as_index=False)["test"].mean()

# %% [markdown]
# Perhaps scratch only needs more time? Then fine-tuning must get it too. We train either **five times as long**.
# (Scratch chose a new rate for it, full kept its own, which favours scratch.) *Scratch alone longer* gives the time to
# scratch only.

# %%
times = {
    "the usual time": ("full", "scratch"),
    "five times as long": ("full, longer", "scratch, longer"),
    "scratch alone longer": ("full", "scratch, longer"),
}

# %%
longer = {
    f"{kind}, {n} per class: {name}": stats.differences(
        stats.select(means, per_class=n), {"kind": kind, "method": a}, b
    )
    for n, kind in ((20, "similar"), (500, "similar"), (500, "both"))
    for name, (a, b) in times.items()
}
show.forest(longer, "accuracy, full minus scratch")

# %% [markdown]
# **Takeaway.** Time helps both arms, and with 500 photos per class it helps scratch most: the lead shrinks. But it does
# not go away. After five times the epochs, fine-tuning is still ahead. Give the time to scratch alone, and it reaches
# fine-tuning from the *similar* source within two points: that would have looked as if scratch caught up. (These rows
# do not say what scratch reaches with fresh views and all the time it wants.)
# <!-- test_with_the_same_time_full_stays_ahead --> <!-- test_time_for_scratch_alone_hides_the_lead -->
#
# ### Exercise 4.1: your own gain
#
# Write `my_gain(rows, source, target, method, per_class)`: the mean over the seeds of the difference in `test` between
# that method and scratch, as a share (0.031 for 3.1 points). Pair them by seed yourself, without `stats.difference`.
# Hint: `stats.select(rows, source=source, ...)` gives the rows, and `.set_index("seed")["test"]` lets pandas subtract
# seed from seed. Scratch has `source="scratch"` and `method="scratch"`. Try it on `judged`: the figure above has the
# answers.


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
# ## Frozen or fine-tuned?
#
# A frozen backbone costs little, but it cannot learn what it does not know. **Guess:** from how many photos per class
# on is full fine-tuning better than a probe?


# %%
def by_size(first, second, **where):
    """For each size, the first side minus the second in every draw."""
    here = stats.select(means, **where)
    return {size: stats.differences(stats.select(here, per_class=size), first, second) for size in sizes}


# %%
frozen = {kind: by_size("linear probe", "full", kind=kind) for kind in ("similar", "both", "other")}
show.lead_curve(frozen, "photos per class", "linear probe minus full")

# %% [markdown]
# **Takeaway.** From a *similar* source or from *both*, the line crosses zero between five and twenty photos per class.
# Before, a probe is the better choice; after, it falls behind, the more the more photos there are. From the *other*
# source it is nowhere ahead: what is frozen must already know something about the task.
# <!-- test_probe_and_full_cross_between_5_and_20 -->
#
# You will train once, on one draw. By how many points do draws differ (standard deviation, mean over sources and
# targets)?

# %%
spread = (
    judged.groupby(["method", "per_class", "source", "target"])["test"].std().groupby(["method", "per_class"]).mean()
)
(100 * spread.unstack()).loc[["scratch", "linear probe", "last stage", "full"], sizes].round(1)

# %% [markdown]
# **Takeaway.** With five photos per class, the luck of the draw is as large as most differences between methods. The
# less trains, the less it matters.
# <!-- test_with_five_photos_what_trains_less_depends_less_on_the_draw -->
#
# ## Does similarity decide?
#
# A source that is like the target should help more. But perhaps it is just the better source, for everything. Suppose
# that *animals* gives 9 points to the animals and 7 to the vehicles, and *vehicles* gives 4 and 6. Animals is better
# throughout. Still, each does two points better at home than the other one's lead explains: (9 - 4 + 6 - 7) / 2. This
# **interaction** of source and target is what similarity is worth.

# %%
worth = {
    method: by_size({"kind": "similar"}, {"kind": "other"}, method=method)
    for method in ("linear probe", "last stage", "full")
}
show.lead_curve(worth, "photos per class", "similar minus other source")

# %% [markdown]
# **Takeaway.** Similarity is real, with as many photos in either source. It is worth most to a frozen backbone with
# five photos per class, and least to full fine-tuning, to which it makes no difference beyond two points from a hundred
# on. It is not worth the same everywhere: with 20 photos, a probe on ship or truck does not care which source it has.
# From twenty on, *both* is better than the similar source alone, whatever the method. It has more photos, more classes
# and more steps, and these rows do not say which of them counts.
# <!-- test_similarity_is_worth_most_where_most_is_frozen --> <!-- test_similarity_is_not_worth_the_same_on_either_target -->
# <!-- test_both_is_better_than_the_similar_source_from_20_on -->
#
# ## Where it hurts
#
# **Negative transfer** is a gain below zero: scratch would have been better. **Guess:** where in the map is it?

# %%
probe = {(f"{s} to {t}", f"{n} per class"): gain(s, t, "linear probe", n) for s, t, n in places}
show.grid(probe, "gain of a linear probe over scratch", gains=True)

# %% [markdown]
# **Takeaway.** *Vehicles*, frozen, for animals: with a hundred photos per class and more a probe is clearly behind
# scratch. *Animals* for vehicles is as unlike, and does not hurt there. So unlikeness alone is not the reason; two
# classes may also teach less than three. With 500 per class only the probe from *both* is still ahead, although scratch
# had five epochs. Harm came from *staying* with what the source taught: full fine-tuning, in the first figure, is
# nowhere behind. (In 24 intervals, one may lie beside zero by chance. A whole line of them does not.)
# <!-- test_a_frozen_backbone_from_vehicles_hurts_on_animals --> <!-- test_at_500_a_probe_is_ahead_of_scratch_from_both_alone -->
# <!-- test_animals_are_as_unlike_vehicles_and_do_not_hurt -->
#
# ## A much larger source
#
# Most people do not pretrain. They download a network that has seen **ImageNet**. Ours is EfficientNet-Lite0 on all ten
# classes, enlarged to 96 pixels. (The rows are those of lessons 0 and 5, so it has a picture of its own. ImageNet *has*
# ships, trucks and horses.) The *recipe* starts with the probe as its head, and trains everything gently while
# batch-norm's statistics are held; lesson 5 takes it apart. The scratch twin trained until it stopped improving, for at
# most 100 epochs.

# %%
panel = pd.concat([stats.results(name).dropna(subset=["test"]) for name in ("lesson00", "lesson05")])
order = ["scratch until flat", "linear probe, random weights", "linear probe", "recipe", "recipe, statistics move"]
panel = panel[panel["method"].isin(order)].sort_values("method", key=lambda names: names.map(order.index))
show.label_curve(panel, chance=0.1)

# %% [markdown]
# **Takeaway.** Very large gains. Is it the architecture? No: the same network with random weights, probed, stays far
# below. Is it time? No: the scratch twin had its time, and stays far below too. And a warning: with 20 photos per class
# and *moving* statistics, fine-tuning ends below the probe. Held, it is ahead at every size.
# <!-- test_scratch_stays_far_below --> <!-- test_moving_statistics_cost_more_than_fine_tuning_gains -->
# <!-- test_the_recipe_leads_the_probe_at_every_size -->
#
# ## What it costs
#
# Accuracy is one side. The other is **operations** (a TFLOP is a million million of them), which do not depend on how
# busy the machine was, and stand in roughly for time and energy. A method is on the **Pareto front** when no other one
# is both cheaper and better: the line below joins the marks on it. **Guess:** will full fine-tuning be on it?

# %%
here = stats.select(judged, target="animals", per_class=20)
here = here[here["source"].isin(["scratch", "both"]) & (here["method"] != "linear probe, random weights")]
flops = here.groupby("method")["flops"].first()
marks = {
    name: (count / 1e12, stats.mean_interval(stats.select(here, method=name)["test"])) for name, count in flops.items()
}
show.tradeoff(marks, "TFLOPs of one training, 20 photos per class of cat, deer and horse")

# %% [markdown]
# ### Exercise 4.2: the Pareto front
#
# Write `front(points)`, where `points` is `{name: (cost, accuracy)}`: the names that no other point beats, cheapest
# first. Hint: go through the points from cheap to dear, and keep each one that is better than *all* before it. Try it
# on `{name: (cost, score.mean) for name, (cost, score) in marks.items()}`: it should give the names on the grey line.


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
# Each training stopped six times to **look** at the same valid photos. How much sooner does full fine-tuning, from
# *both*, have a look as good as scratch's best?

# %%
saved = {(target, size): course.work_saved(judged, "both", target, size) for target in targets for size in sizes}
for (target, size), (times_sooner, never) in saved.items():
    print(f"{target:<8}, {size:>3} per class: {times_sooner.mean:.1f} times sooner; never in {never} of 8 draws")

# %% [markdown]
# Somebody had to pay for the pretraining. After how many tasks like ours has a probe, instead of scratch, paid it back?

# %%
card = backbones.load_backbone("course_resnet/both").card
per_photo = backbones.step_flops(backbones.course_resnet(len(card["classes"])), 32, batch=2) / 2
paid = card["photos"] * card["recipe"]["epochs"] * per_photo
spared = flops["scratch"] - flops["linear probe"]
print(f"pretraining: {paid / 1e12:.0f} TFLOPs, paid back after {paid / spared:.0f} tasks with 20 photos per class")

# %% [markdown]
# **Takeaway.** A probe costs least by far, and is clearly ahead of scratch. The last stage is at least as good as full
# fine-tuning here, for a third of its operations, so full is not on the front. With a hundred photos per class and
# more, full fine-tuning is sooner where scratch ends; with fewer, draws differ too much. (One training is not the whole
# price: we tried three to five rates for each, while a probe tries all its penalties on the same features.) And a
# single task does not pay the pretraining back. It pays when many tasks share it, or when somebody else has done it.
# <!-- test_last_stage_is_at_least_as_good_as_full_at_20_for_less --> <!-- test_from_100_on_full_is_sooner_where_scratch_ends -->
#
# ## Advice for a project
#
# What should *you* do? Here is a rule that the rows can answer: **take the cheapest method whose mean accuracy is at
# most so far below the best**. How far is yours to say: half a point if accuracy is scarce, two points if computing is.
# The rule reads the five draws that choose, over all sources and targets. **Guess:** when does it say *full*?

# %%
advice = {"accuracy is scarce: 0.5 points": course.advised(rows, 0.005)}
advice["computing is scarce: 2 points"] = course.advised(rows, 0.02)
pd.DataFrame(advice).T.rename(columns=lambda size: f"{size} per class")

# %% [markdown]
# Is it good advice? Suppose that you tried *every* method, and kept the one that is best on valid photos. The
# **regret** is its accuracy on test photos minus that of the advised one: zero if nothing is lost, below zero if the
# advice was better. We take the eight draws that judge. And for each source, we form the advice without it.

# %%
rules = {
    "advice, 0.5 points": lambda source: course.advised(rows, 0.005, without=source),
    "advice, 2 points": lambda source: course.advised(rows, 0.02, without=source),
    "always last stage": lambda source: dict.fromkeys(sizes, "last stage"),
    "always full": lambda source: dict.fromkeys(sizes, "full"),
    "always linear probe": lambda source: dict.fromkeys(sizes, "linear probe"),
}
lost = {name: course.regret(judged, rule) for name, rule in rules.items()}
show.forest(
    {name: table.groupby("seed")["regret"].mean().tolist() for name, table in lost.items()}, "regret, mean of all"
)

# %%
settings_of = lost["advice, 0.5 points"].groupby(["source", "target", "per_class"], sort=False)
worst = {f"{s} to {t}, {n}": part["regret"].tolist() for (s, t, n), part in settings_of}
worst = dict(sorted(worst.items(), key=lambda item: -sum(item[1]))[:4])
show.forest(worst, "regret of the advice for 0.5 points, its four worst settings")

# %% [markdown]
# **Takeaway.** Train the last stage while photos are few, everything when there are a hundred per class or more. This
# loses less than half a point on average, in no setting is its whole interval beyond two, and it is better than taking
# always the same method. The cheap rule costs a point more, and most from *vehicles* to animals: there a probe can lose
# to scratch, and at 500 it is clearly more than two points behind. So similarity decides how much you gain, and whether
# you may stay with what is frozen.
# <!-- test_the_advice_loses_at_most_half_a_point_on_average -->
# <!-- test_in_no_setting_does_the_whole_interval_of_the_regret_lie_beyond_two_points -->
# <!-- test_the_advice_is_better_than_always_the_same_method --> <!-- test_the_cheap_rule_costs_a_point_more -->
#
# It was a mild test. *Both* holds the photos of the two other sources, the rates were chosen with all sources, and the
# two tasks are the same. For a task of yours it may lose more. And this is our ResNet, whose statistics may move; with
# a downloaded network hold them first (above, and lesson 5).
#
# And if **labels** are scarce? Compare what a method is worth with what photos are worth: 100 per class instead of 20.

# %%
from_both = stats.select(means, kind="both")
at_20 = stats.select(from_both, per_class=20)
labels = {
    "full: 100 instead of 20": stats.differences(
        stats.select(from_both, method="full"), {"per_class": 100}, {"per_class": 20}
    ),
    "20: last stage instead of probe": stats.differences(at_20, "last stage", "linear probe"),
}
show.forest(labels, "accuracy, pretrained on both, mean of the two targets")

# %% [markdown]
# **Takeaway.** Five times the photos were worth more than the choice of a method. Whether they pay depends on what
# eighty labels per class cost you.
# <!-- test_five_times_the_photos_are_worth_more_than_the_method -->
#
# ## Four projects
#
# The advice says where you will probably *end*. **Start** with a probe: it takes seconds, and everything after it must
# beat it. It is also the cheap way to compare *backbones*: one from ImageNet, a large one trained on pictures with
# their texts, one that has seen your kind of picture. Our rows compare none of these. They are of small photos, two or
# three classes, a small network, and at most 500 photos per class. Where a project leaves them, we say so, and turn to
# what others have published.
#
# **1. 244 photos of ants and bees** [1], about 120 per class. *Near ImageNet:* they are among its classes.
# - **First:** ask the old head, then a probe. **Then:** lesson 5's recipe, statistics held. It was ahead of the probe
#   on our ten classes, at every size. <!-- test_the_recipe_leads_the_probe_at_every_size -->
# - **Check:** are your test photos new to the *network*? The tutorial's author calls this set a part of ImageNet.
#   **What would change it:** photos of your own that do worse.
#
# **2. 10,000 X-rays**, two findings. *Far from ImageNet, and more photos than we have rows for.*
# - **First:** a probe; on a network that has seen X-rays too, if there is one. **Then:** full fine-tuning, which our
#   rows advise from 100 per class on, statistics held first, *and* a small network from scratch with the same time.
#   <!-- test_from_100_photos_per_class_on_the_advice_is_full -->
# - **Published:** on two large sets of medical images ImageNet brought little accuracy, and small networks kept up with
#   large ones [2]. Yours is small beside them.
# - **Check:** split by patient and by hospital, not by picture. If a finding is rare, accuracy hides it. **What would
#   change it:** a scratch twin that ends as high.
#
# **3. A million product photos**, a thousand classes. *Our rows say nothing about a million.*
# - **First:** a probe, and the same frozen features to find near-duplicates. **Then:** full fine-tuning; scratch only
#   if you can pay for very long training.
# - **Published:** for finding objects, scratch with more time was no worse than ImageNet, with a tenth of the photos
#   too [3]. On two sets of cars and aircraft ImageNet brought little [4]. A very large network after a very large
#   pretraining did well from one photo per class to a million in all [5].
# - **Check:** is the same product in training and in test? **What would change it:** the price of a day of training.
#
# ### Exercise 4.3: decide the fourth
#
# **200 satellite tiles**, 50 each of forest, field, town and water, and no way to get more. In tests with few pictures
# of four kinds, satellite tiles among them, plain fine-tuning was ahead of cleverer ways to learn from few [6]. With
# 27,000 tiles in ten classes, a fine-tuned network reached 98.57 % [7]. On six sets from practice, satellite pictures
# among them, the network that is better on ImageNet was often not the better one to take [8].
#
# We set 40 tiles aside, for the number in our report. Fill in the plan for the other 160:
#
# - `first`, what you compare with, and `then`: *scratch*, *linear probe*, *last stage*, or *full*;
# - `judge`, on what you compare them. *train*: the tiles they train on. *split*: 32 tiles set aside once. *folds*:
#   cross-validation, five parts of 32, each left out of training in its turn. *test*: the 40 tiles of the report;
# - `take it`: by how many points `then` must lead in the mean before you pay for it.
#
# Hint: 50 per class lies between two of our sizes. One tile of 32 is three points, and one of 160 is 0.6. How many
# tiles may be luck?


# %% tags=["exercise"]
def plan():
    return {"first": None, "then": None, "judge": None, "take it": None}


# %% tags=["solution"]
def plan():
    return {"first": "linear probe", "then": "last stage", "judge": "folds", "take it": 3}


# %%
course.check("4.3", plan)

# %% [markdown]
# (Neighbouring tiles look alike. Keep tiles of one place in one fold.)
#
# ## Three sentences, judged
#
# *Transfer learning saves time, needs less data, improves accuracy.* On this map, pretrained on *both*:
#
# - **It saves time.** With a hundred photos per class and more yes, counted in steps. Not if you must pay for the
#   pretraining yourself, for one task. <!-- test_from_100_on_full_is_sooner_where_scratch_ends -->
# - **It needs less data.** Yes: the last stage with 20 photos per class is at least as good as scratch with 100, in the
#   mean of the two targets. <!-- test_a_fifth_of_the_photos_does -->
# - **It improves accuracy.** From twenty photos per class on yes, at 20 and 500 also when the two train five times as
#   long. Not if you stay frozen on a source that knows nothing of the task.
#   <!-- test_full_is_ahead_of_scratch_from_20_on --> <!-- test_with_the_same_time_full_stays_ahead -->
#   <!-- test_a_frozen_backbone_from_vehicles_hurts_on_animals -->
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
    gain_20=gain("both", "animals", "full", 20),
    regret=lost["advice, 0.5 points"]["regret"].mean(),
    paid_back=paid / spared,
    deviation=off.mean(),
)

# %% [markdown]
# ## Recap
#
# - Give the baseline time before you believe a gain, and give the other arm the same.
# - A **frozen** backbone is cheap, steady, and strong while photos are few. Then fine-tuning passes it, and with many
#   photos even scratch can.
# - **Similarity** decides how much you gain, and whether you may stay frozen.
# - **Negative transfer** came from staying frozen on a source that knew too little of the task.
# - Advice is a rule over rows with a margin that you state, tested on rows that it has not seen. Say how far they reach.
#
# ## References
#
# 1. S. Chilamkurthy, *Transfer Learning for Computer Vision Tutorial*,
#    https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html.
# 2. M. Raghu and others, *Transfusion: Understanding Transfer Learning for Medical Imaging*, 2019,
#    https://arxiv.org/abs/1902.07208.
# 3. K. He, R. Girshick and P. Dollár, *Rethinking ImageNet Pre-training*, 2018, https://arxiv.org/abs/1811.08883.
# 4. S. Kornblith, J. Shlens and Q. Le, *Do Better ImageNet Models Transfer Better?*, 2019,
#    https://arxiv.org/abs/1805.08974.
# 5. A. Kolesnikov and others, *Big Transfer*, 2020, https://arxiv.org/abs/1912.11370.
# 6. Y. Guo and others, *A Broader Study of Cross-Domain Few-Shot Learning*, 2020, https://arxiv.org/abs/1912.07200.
# 7. P. Helber and others, *EuroSAT*, 2019, https://arxiv.org/abs/1709.00029.
# 8. A. Fang, S. Kornblith and L. Schmidt, *Does progress on ImageNet transfer to real-world datasets?*, 2023,
#    https://arxiv.org/abs/2301.04644.
#
# - J. Yosinski and others, *How transferable are features in deep neural networks?*, 2014,
#   https://arxiv.org/abs/1411.1792.
# - Z. Wang and others, *Characterizing and Avoiding Negative Transfer*, 2019, https://arxiv.org/abs/1811.09751.
# - R. Schwartz and others, *Green AI*, 2019, https://arxiv.org/abs/1907.10597: report operations beside accuracy.
