# %% [markdown]
# # 8 · Is it only for images?
#
# *40 minutes. On two CPU cores the cells take about a minute in all.*
#
# Everything so far was about photos. This lesson does the same with words: a network learns a large general task, and we
# reuse it. In this lesson we
#
# - pretrain a small **GPT** for half a minute, and see what six thousand steps make of it;
# - play with a classifier of our own lines;
# - reuse the network as in lessons 2 and 3: frozen, fine-tuned, and with a new trick, **LoRA**;
# - ask where it helps, where it does not, and what a much larger network adds.

# %% tags=["parameters"]
profile = "auto"  # or "cpu" or "gpu", to choose yourself
quick = False  # True: a few steps only, to see that everything works
home = None  # a folder of your own for downloads, features and models, such as one on a mounted Drive

# %%
import time

import torch
from torch import nn

from transfer_utils import backbones, course, data, show, stats, training
from transfer_utils.training import Reading, Recipe, accuracy, fit

run = course.settings(profile, quick, home)
print(run)

# %% [markdown]
# ## Guess the next word
#
# Here are four definitions from a dictionary, each cut short. **What comes next?** Say your word for each, aloud or on
# paper, before you run the cell below.

# %%
cut_short = (
    "a small piece of",
    "a person who is employed to",
    "a tropical fruit with a thick",
    "the act of making something",
)
print("\n".join(f"{line} ..." for line in cut_short))

# %% [markdown]
# To guess well you needed **grammar**, since after *a thick* comes a noun or another adjective, and **sense**, since a
# fruit has a skin and no engine. Nobody labelled anything for this game. In every text, the next word is the label.
#
# A network that plays it is called a **language model**. Ours is a GPT, the kind of network behind the well-known chat
# programs, but 2.2 million parameters small. This is its guess for the third line:

# %%
gpt = backbones.load_backbone("course_gpt/definitions")
show.next_words(backbones.next_tokens(gpt, cut_short[2]), cut_short[2])

# %% [markdown]
# **Takeaway.** A language model answers with a probability for each way to go on. Put another line into the cell, and
# look at what it knows and what it does not.
#
# It reads **tokens**, pieces of words, of which it knows 2,048. A frequent word is one token, a rare one several, so that
# no word is unknown:

# %%
tokens = backbones.to_tokens([cut_short[2]])[0]
print(" | ".join(backbones.to_text([token]) for token in tokens))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## Play: what is your line about?
#
# The network has read definitions, and was never told what they are about. We give it a few labelled ones of ten
# **topics**, and fit a linear probe on its frozen features, as in lesson 2: one probe for 5, 20, 100 and 500 labels per
# topic. Type a line of your own, and move the number of labels.

# %%
train, valid = data.load_texts("topics", "train"), data.load_texts("topics", "valid")
LENGTH = 24  # tokens of a line that are read
known = train.take(per_class=run.few(500, quick=20), seed=run.seed)
bank = training.extract(gpt, known, size=LENGTH)
known


# %%
def probe_from(per_class):
    # take() gives one topic after the other, so these are the first lines of each
    few = torch.arange(len(known)) % (len(known) // 10) < per_class
    return training.linear_probe(bank[few], known.labels[few], penalty=0.1)


heads = {count: probe_from(count) for count in (5, 20, 100, 500)}
show.LineReader(
    gpt, known, heads, LENGTH, ["a large bird that cannot fly", "someone who sells bread", "shouting at a cat"]
)

# %% [markdown]
# **Takeaway.** With five labels the answer is often close, and unsure. The neighbours say why it works at all: lines
# about the same thing lie close to each other, although nobody said what they are about.
#
# ## Where does it come from?
#
# All of this comes from pretraining, so let us watch it begin. The text is what dictionaries and teachers write: every
# definition and example sentence of **WordNet**, but for those of our ten topics, which the network must never see.

# %%
lines, held_out = data.load_lines("train"), data.load_lines("valid")
print(f"{len(lines):,} lines, for example:", *lines[:4], sep="\n  ")

# %% [markdown]
# We join them into one long **stream** of tokens. In each step the network reads 64 windows of 64 tokens, and at every
# place of every window it guesses the next one. Its loss is the cross-entropy of these guesses: the same loss as for
# photos, with 2,048 classes.

# %%
stream, unread = training.stream(lines), training.stream(held_out)
young = backbones.course_gpt(seed=run.seed)
before = training.surprise(young, unread)
print(f"before the first step: loss {before:.2f} on lines that it never reads")

# %% [markdown]
# **Guess:** after half a minute, will it write words? Sentences?

# %%
start = time.perf_counter()
for step, loss in enumerate(training.read(young, stream, Reading(steps=run.few(100), warm_up=50)), start=1):
    if step % 25 == 0:
        print(f"step {step:3}, {time.perf_counter() - start:3.0f} s, loss {loss:.2f}")

# %%
after = training.surprise(young, unread)
print(f"now: loss {after:.2f}, and it writes:")
print(*[backbones.write(young, "a small", seed=seed) for seed in range(4)], sep="\n")

# %% [markdown]
# Half a minute is not much. The network that we have used above had the same start and went on for 6,000 steps, 35
# minutes on one core. At some of them it was asked to write; what it wrote is kept in its card.

# %%
show.pretraining_run(gpt.card["looks"])

# %% [markdown]
# **Takeaway.** First come letters and pieces that are frequent, then words that are spelled right, then **grammar**: an
# adjective before a noun, *of* before another one. **Sense** comes last and is never finished: many lines sound like a
# definition of nothing that exists. Ask for some yourself, with another beginning or seed:

# %%
print(*[backbones.write(gpt, "a person who", seed=seed) for seed in range(5)], sep="\n")

# %% [markdown]
# ### Exercise 8.1: the loss of a language model
#
# Write `next_token_loss(logits, tokens)`. `logits` (N, L, V) has a guess at each of L places of N lines, `tokens` (N, L)
# is what stands there. Return the mean cross-entropy of guessing each token **from the place before it**. Hint:
# `cross_entropy` wants (guesses, V) and (guesses,).


# %% tags=["exercise"]
def next_token_loss(logits, tokens):
    return None  # your lines replace this one


# %% tags=["solution"]
def next_token_loss(logits, tokens):
    guesses, answers = logits[:, :-1], tokens[:, 1:]
    return nn.functional.cross_entropy(guesses.flatten(0, 1), answers.flatten())


# %%
course.check("8.1", next_token_loss)

# %% [markdown]
# ## Reuse it: frozen
#
# From here on it is transfer learning as we know it. The network is a row of stages, and its head, which guesses the next
# word, is replaced by one for ten topics. The stage *pool* averages over the tokens of a line.

# %%
show.network(backbones.load_backbone("course_gpt/definitions", classes=10, seed=run.seed))

# %% [markdown]
# We take 20 labelled lines per topic. **Guess:** how much does a probe get right, and how much of it does the same probe
# get on a network that has read nothing?

# %%
few = train.take(per_class=20, seed=run.seed)
untrained = backbones.course_gpt(seed=run.seed)


def probe_accuracy(model):
    features, valid_features = (training.extract(model, texts, size=LENGTH) for texts in (few, valid))
    return training.linear_probe(features, few.labels, penalty=0.1).accuracy(valid_features, valid.labels)


frozen = probe_accuracy(gpt)
print(f"pretrained {frozen:.0%}, untrained {probe_accuracy(untrained):.0%}, guessing 10%")

# %% [markdown]
# An untrained network is not nothing: it mixes the tokens of a line at random, and which tokens a line has says
# something. So there is an old and simple rival: **count the words** of each line, and fit logistic regression on the
# counts. We keep it in every comparison below.
#
# ## Reuse it: fine-tuned
#
# Now everything may move, the stages at a tenth of the head's rate, as in lesson 3. Beside it the same network **from
# scratch**, with the same number of steps and so with the same time.


# %%
def trained(pretrained, rate, head_ratio):
    model = backbones.load_backbone("course_gpt/definitions", pretrained, classes=10, seed=run.seed)
    recipe = Recipe(run.few(12), rate, head_ratio, batch=16, augment=False, seed=run.seed)
    fit(model, few, None, LENGTH, recipe)
    return model


full, scratch = trained(True, 1e-2, 10), trained(False, 1e-3, 1)
ours = accuracy(full, valid, LENGTH), accuracy(scratch, valid, LENGTH)
print(f"fine-tuned {ours[0]:.0%}, from scratch {ours[1]:.0%} of the valid lines")

# %% [markdown]
# One draw is an anecdote. The stored rows hold twenty draws of lines, each judged on 3,000 test lines that none of the
# ways has seen. Rates were chosen beforehand, on five other draws.

# %%
rows = stats.results("lesson08")
judged = rows.dropna(subset="test")
topics, films = stats.select(judged, task="topics"), stats.select(judged, task="film_reviews")
COMPARED = ["full", "probe", "scratch", "word counts"]
show.label_curve(topics[topics["method"].isin(COMPARED)], chance=0.1)
