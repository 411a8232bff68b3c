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
show.next_words(backbones.next_words(gpt, cut_short[0]), cut_short[0])

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
# Half a minute is not much. The network that we have used above had the same start and went on for 6,000 steps. At some of
# them it was asked to write; what it wrote is kept in its card, from the first step to the last.

# %%
show.pretraining_run(gpt.card["looks"], beginning=3)

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
show.label_curve(topics[topics["method"].isin(COMPARED)], chance=0.1, of="lines")

# %% [markdown]
# **Takeaway.** At few labels the pretrained network is far ahead of the same network from scratch, fine-tuned or frozen.
# Counting words, which needs no network at all, beats the network from scratch. The more labels there are, the closer
# all of them come.
#
# How far ahead, in each of the twenty draws? Each dot is a draw; the star is ours, on valid lines.


# %%
def per_draw(rows, first, second, per_class):
    one, other = stats.paired(stats.select(rows, per_class=per_class), first, second, ["test"])
    return (one["test"] - other["test"]).tolist()


at_20 = {
    f"fine-tuned minus {other}": per_draw(topics, "full", other, 20)
    for other in ("scratch", "probe", "word counts", "probe, untrained")
}
mine = {"fine-tuned minus scratch": ours[0] - ours[1]} if run.comparable else None
show.forest(at_20, "difference in accuracy, topics, 20 labels per topic", mine)

# %% [markdown]
# **Takeaway.** Every draw says the same about training from scratch: pretraining is worth more than everything that twenty
# labels can teach. Against the probe the gain is smaller, and a probe takes a fraction of the time.
#
# Is scratch only too slow? Both get three times the steps, each with a rate of its own:

# %%
longer = {
    "full: three times the steps": per_draw(topics, "full, longer", "full", 20),
    "scratch: three times the steps": per_draw(topics, "scratch, longer", "scratch", 20),
    "both with three times: full minus scratch": per_draw(topics, "full, longer", "scratch, longer", 20),
}
show.forest(longer, "difference in accuracy, topics, 20 labels per topic")

# %% [markdown]
# ## Far from home: is a review good or bad?
#
# The topics are close to what the network has read: they are definitions too. Now something far: sentences of **film
# reviews**, which people have rated; is the sentence good or bad about the film? A definition never praises anything.
# **Guess** what pretraining is worth here.

# %%
show.label_curve(films[films["method"].isin(COMPARED)], chance=0.5, of="lines")

# %%
far = {f"{n} labels per class": per_draw(films, "full", "scratch", n) for n in (5, 20, 100, 500)}
show.forest(far, "fine-tuned minus scratch, film reviews")

# %% [markdown]
# **Takeaway.** As with photos in lesson 4, similarity decides. What the network knows about dictionaries says little about
# praise, and twenty labels are too few for anything that we have tried.
#
# ## LoRA: move a lot by training little
#
# Fine-tuning keeps a copy of all weights for each task, and AdamW two numbers more for each weight that trains. Large
# language models are too large for that. **LoRA** leaves every weight W where it is, and trains a small detour beside
# it: down to a few numbers by a matrix A, and up again by B. Together they are the change of W, and of low rank:

# %% [markdown]
# ### Exercise 8.2: LoRA around a layer
#
# Write `add_lora(layer, rank)` for an `nn.Linear`. Return a module that gives `layer(x) + up(down(x))`, with `down` from
# the layer's inputs to `rank` numbers and `up` from there to its outputs, both without bias. Only these two train. At the
# start it must give what the layer gives: which of the two has to begin at zero? (What if both did?)


# %% tags=["exercise"]
def add_lora(layer, rank):
    return None  # your lines replace this one


# %% tags=["solution"]
class LoRA(nn.Module):
    def __init__(self, layer, rank):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.layer(x) + self.up(self.down(x))


def add_lora(layer, rank):
    return LoRA(layer, rank)


# %%
course.check("8.2", add_lora)

# %% [markdown]
# `backbones.add_lora` does this for the attention layers of every block. How many numbers train, and how good is it?

# %%
model = backbones.load_backbone("course_gpt/definitions", classes=10, seed=run.seed)
whole = backbones.count_parameters(model)
backbones.add_lora(model, rank=8, seed=run.seed)
print(f"{backbones.count_parameters(model, trainable=True):,} of {whole:,} numbers train")

# %%
fit(model, few, None, LENGTH, Recipe(run.few(12), 1e-2, batch=16, augment=False, seed=run.seed))
print(f"LoRA {accuracy(model, valid, LENGTH):.0%} of the valid lines, full fine-tuning {ours[0]:.0%}")

# %%
ways = {
    "LoRA minus full": per_draw(topics, "LoRA", "full", 20),
    "gradual unfreezing minus full": per_draw(topics, "gradual unfreezing", "full", 20),
}
show.forest(ways, "difference in accuracy, topics, 20 labels per topic")

# %% [markdown]
# *Gradual unfreezing* is the head first, then from the last block down to the first, a quarter of the epochs each, as ULMFiT
# did it. **Takeaway.** TAKEAWAY
#
# When training is over, the detour can be added to W for good (`backbones.merge_lora`), and nothing of it is left in
# the network but better weights.
#
# ## A network that has read more
#
# Our GPT has read 140,000 lines. **MiniLM** has the same kind of blocks, ten times the parameters, and learned from more
# than a billion pairs of sentences. A probe on its frozen features, beside our best:

# %%
show.label_curve(
    topics[topics["method"].isin(["MiniLM, probe", "full", "probe", "word counts"])], chance=0.1, of="lines"
)

# %%
near_and_far = {
    "topics, 20 labels": per_draw(topics, "MiniLM, probe", "full", 20),
    "topics, 500 labels": per_draw(topics, "MiniLM, probe", "full", 500),
    "film reviews, 20 labels": per_draw(films, "MiniLM, probe", "full", 20),
    "film reviews, 500 labels": per_draw(films, "MiniLM, probe", "full", 500),
}
show.forest(near_and_far, "MiniLM's probe minus our GPT, fine-tuned")

# %% [markdown]
# **Takeaway.** TAKEAWAY
#
# If the extra `text` is installed, which `make` does, the next cell asks MiniLM itself; otherwise it says how to get it.

# %%
try:
    minilm = backbones.load_backbone("minilm")
    print(f"MiniLM, {backbones.count_parameters(minilm) / 1e6:.0f} million parameters: {probe_accuracy(minilm):.0%}")
except RuntimeError as missing:
    print(missing)

# %% [markdown]
# ## Was the exam in the textbook?
#
# A language model reads everything that it finds. If the test lines are among it, its score says how well it remembers,
# and not how well it understands. This has happened to large models more than once.
#
# ### Exercise 8.3: find the leak
#
# Write `leaked(pretraining, test)` for two lists of lines: return the test lines that pretraining has read. Lines count as
# the same when they are equal in lower case, without spaces around them and without a full stop, comma or the like at the
# end. Hint: make a `set` of the one, so that 140,000 times 3,000 comparisons are not needed.


# %% tags=["exercise"]
def leaked(pretraining, test):
    return None  # your lines replace this one


# %% tags=["solution"]
def leaked(pretraining, test):
    def plain(line):
        return line.lower().strip().rstrip(".,;:!?").strip()

    read = {plain(line) for line in pretraining}
    return [line for line in test if plain(line) in read]


# %%
course.check("8.3", leaked)

# %%
test = data.load_texts("topics", "test")
found = leaked(lines, test.texts)
print(
    f"{'not solved yet' if found is None else len(found)} of {len(test):,} test lines are among what our GPT has read"
)

# %% [markdown]
# None, since we left such lines out beforehand, and with them every line that shares half of its word pairs with a topic's
# line. For networks that read the internet nobody can promise that: MiniLM may well have met WordNet.
#
# ## What carried over
#
# | from images | here |
# |---|---|
# | pretrain on a large general task | the next word, on 140,000 lines, with no labels at all |
# | stages, frozen or not; a new head | the same, with a head of 2,048 words to replace |
# | frozen features and a probe | the same, with similar gains at few labels |
# | discriminative rates, gradual unfreezing | the same |
# | similarity of source and target decides | the same: topics gain much, film reviews little |
# | batch-norm's statistics drift | no batch-norm: a transformer has layer norm, which keeps none |
# | mirrored and shifted copies | not for words: a mirrored sentence is none |
# | larger input sees more | longer lines say more, until they are said |
#
# ## Self-test
#
# Write your letters in place of `None` and run the cell.

# %% tags=["exercise"]
course.self_test("08", None, None, None)

# %% tags=["solution"]
course.self_test("08", "a", "b", "c")

# %% tags=["result"]
gain = stats.difference(stats.select(topics, per_class=20), "full", "scratch")
run.result(full_20=ours[0], scratch_20=ours[1], gain_20=gain, frozen_20=frozen, loss_before=before, loss_after=after)

# %% [markdown]
# ## Recap
#
# - A **language model** pretrains on plain text: the next word is the label. Spelling comes first, then grammar, then some
#   sense.
# - The recipe of the earlier lessons holds: freeze and probe, or fine-tune with careful rates. A baseline without any
#   network, **counting words**, belongs into every comparison.
# - **LoRA** trains a detour of a few numbers beside weights that stay.
# - Pretraining helps where the source is **like** the target. Check that the test was not part of the source.
#
# ## References
#
# - A. Radford and others, *Improving Language Understanding by Generative Pre-Training*, 2018; *Language Models are
#   Unsupervised Multitask Learners*, 2019.
# - J. Howard and S. Ruder, *Universal Language Model Fine-tuning for Text Classification*, 2018,
#   https://arxiv.org/abs/1801.06146.
# - E. Hu and others, *LoRA: Low-Rank Adaptation of Large Language Models*, 2021, https://arxiv.org/abs/2106.09685.
# - W. Wang and others, *MiniLM: Deep Self-Attention Distillation*, 2020, https://arxiv.org/abs/2002.10957; the sentence
#   encoder *all-MiniLM-L6-v2* is by the authors of sentence-transformers.
# - C. Fellbaum, ed., *WordNet: An Electronic Lexical Database*, 1998; WordNet 3.0 © 2006 by Princeton University.
# - C. Hutto and E. Gilbert, *VADER*, 2014, with the rated sentences; the film reviews are from B. Pang and L. Lee, 2004.
# - A. Karpathy, *nanoGPT*, https://github.com/karpathy/nanoGPT: a GPT as short as it gets.
