# %% [markdown]
# # 8 · Is it only for images?
#
# *60 minutes. On two CPU cores the cells take about a minute in all.*
#
# Everything so far was about photos. This lesson does the same with words: a network learns a large general task, and we
# reuse it. In this lesson we
#
# - guess the next word, and let a small **GPT** guess;
# - play with a classifier of our own lines;
# - watch pretraining on plain text begin, and see what six thousand steps make of it;
# - reuse the network as in lessons 2 and 3: frozen, fine-tuned, and with a new trick, **LoRA**;
# - ask where it helps, where it does not, and what a much larger network adds.

# %% tags=["parameters"]
profile = "auto"  # or "cpu" or "gpu", to choose yourself
quick = False  # True: a few steps only, to see that everything works
home = None  # a folder of your own for downloads, features and models, such as one on a mounted Drive

# %%
import time

import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

from transfer_utils import backbones, course, data, show, stats, training
from transfer_utils.backbones import freeze
from transfer_utils.training import Reading, Recipe, accuracy, fit

run = course.settings(profile, quick, home)
print(run)

# %% [markdown]
# ## Guess the next word
#
# Here are four definitions from a dictionary, each cut short. **What comes next?** Say your word for each, aloud or on
# paper, before you go on.

# %%
cut_short = (
    "a small piece of",
    "a bird with a long",
    "a person who is employed to",
    "a tropical fruit with a thick",
)
print("\n".join(f"{line} ..." for line in cut_short))

# %% [markdown]
# To guess well we need **grammar**, since after *a thick* comes a noun or another adjective, and **sense**, since a fruit
# has a skin and no engine. Nobody labelled anything for this game: in every text the next word is the label.
#
# A network that plays it is called a **language model**. Ours is a GPT, the kind of network behind well-known chat
# programs, with 2.2 million parameters instead of billions. It answers with a probability for every word:

# %%
gpt = backbones.load_backbone("course_gpt/definitions")
line = cut_short[0]
show.next_words(backbones.next_words(gpt, line), line)

# %%
for line in cut_short[1:]:
    words = backbones.next_words(gpt, line, count=5)
    print(f"{line} ... {', '.join(word.strip() for word in words)}")

# %% [markdown]
# **Takeaway.** Compare them with yours. The grammar is right nearly everywhere. Sense comes and goes: a bird with a long
# tail or leg is fine, one with a long handle is not, nor is a fruit with a thick head. **Try** a `line` of your own in the
# cell with the bars.
# <!-- live -->
#
# It reads **tokens**, pieces of words, of which it knows 2,048. A frequent word is one token, a rarer one several, so that no
# word is unknown to it. The words above were put together from such pieces.

# %%
tokens = backbones.to_tokens(["a parrot with a long leg"])[0]
print(" | ".join(backbones.to_text([token]) for token in tokens))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## Play: what is your line about?
#
# Nobody told the network what a definition is about. We do, with labelled ones of ten **topics**, for the dictionary's
# editors have sorted its nouns so. On the network's frozen features we fit a linear probe, as in lesson 2: one probe from
# 5 labels per topic, one from 20, from 100 and from 500.

# %%
LENGTH = 24  # tokens of a line that are read; the rest of a longer one is cut
train = data.load_texts("topics", "train")
valid = data.load_texts("topics", "valid").take(per_class=run.few(150, quick=10))
known = train.take(per_class=run.few(500, quick=20), seed=run.seed)
known


# %%
def probe_from(per_class):
    few = known.take(min(per_class, len(known) // 10), seed=run.seed)
    # the penalty holds the weights down; 0.1 is close to the best at 20 and at 100 labels
    return training.linear_probe(training.extract(gpt, few, LENGTH), few.labels, penalty=0.1)


heads = {per_class: probe_from(per_class) for per_class in (5, 20, 100, 500)}
starts = ["the skin on the back of your hand", "going for a walk in the rain", "a large bird that cannot fly"]
show.LineReader(gpt, known, heads, LENGTH, starts)

# %% [markdown]
# Type a line, such as *bread with cheese and tomatoes*, and move the number of labels. **Takeaway.** With five labels per
# topic it is often wrong, and sometimes sure of it. With five hundred it is mostly right. The nearest labelled lines show
# why a probe works at all: many of them are about the same thing, although nobody told the network what that is. We have
# picked the first two lines because they work; the third one shows that not all do.
# <!-- live -->
#
# ## Where does it come from?
#
# All of this comes from pretraining, so let us watch it begin. The text is **WordNet**, a dictionary: its definitions and
# example sentences.

# %%
lines, held_out = data.load_lines("train"), data.load_lines("valid")
print(f"{len(lines):,} lines, for example:", *lines[:4], sep="\n  ")

# %% [markdown]
# A third of them define things of our ten topics too, never with a label. The 12,000 lines of our task, and all that nearly
# equal one of them, were left out. So source and task could hardly be nearer to each other.
#
# We join the lines into one long **stream** of tokens. In each step the network reads 32 windows of 64 tokens, and at every
# place it guesses the next token. Its loss is cross-entropy, as for photos, with 2,048 classes. On lines that it never
# reads we call it `surprise`:

# %%
stream = training.stream(lines[: run.few(len(lines), quick=5000)])
unread = training.stream(held_out[: run.few(len(held_out), quick=200)])
young = backbones.course_gpt(seed=run.seed)
before = training.surprise(young, unread)
print(f"before the first step: {before:.2f}, and blind guessing among 2,048 gives {torch.tensor(2048).log():.2f}")

# %% [markdown]
# **Guess:** what will it write after a hundred steps? Letters, words, sentences?

# %%
start = time.perf_counter()
for step, loss in enumerate(training.read(young, stream, Reading(run.few(100), batch=32, warm_up=50)), start=1):
    if step % 25 == 0:
        print(f"step {step:3}, {time.perf_counter() - start:3.0f} s, loss {loss:.2f}")

# %%
after = training.surprise(young, unread)
print(f"surprise {after:.2f}, and it writes:")
print(*[backbones.write(young, "a small", seed=seed) for seed in range(run.few(4, quick=1))], sep="\n")

# %% [markdown]
# The network that we have used above began with the same weights, and read for 6,000 steps, 64 windows in each. At some of
# them it was asked to go on with *an edible*; what it wrote is kept in its card.

# %%
show.pretraining_run(gpt.card["looks"], beginning=3)

# %%
perplexity = torch.tensor(gpt.card["valid_loss"]).exp()
print(f"at the end it hesitates as if among {perplexity:.0f} tokens, not 2,048")

# %% [markdown]
# (The number of tokens among which it hesitates, e to the power of the loss, is called its **perplexity**. A � is a piece
# of a character.)
#
# **Takeaway.** After 100 steps it writes frequent pieces. After 300 it has the shape of a definition, its **grammar**, with
# words that do not exist. After 1,000 most words are real, so **spelling** comes late here. **Sense** comes last: at the end
# a line begins well, and drifts. Ask for some yourself, with another beginning or another seed:
# <!-- live -->

# %%
for beginning in ("the branch of science", "the capital of", "a person who"):
    print(*[backbones.write(gpt, beginning, seed=seed) for seed in range(run.few(2, quick=1))], sep="\n")

# %% [markdown]
# Fluent and false, some of it. The network has learned how definitions sound, and no fact is checked.
#
# ### Exercise 8.1: the loss of a language model
#
# A head gives raw scores, called **logits**. Cross-entropy makes probabilities of them, and takes minus the logarithm of the
# true token's: `nn.functional.cross_entropy` does both for logits (M, V) and answers (M), and takes the mean.
#
# Write `next_token_loss(logits, tokens)`. `logits` (N, L, V) holds guesses among V tokens at each of L places of N lines,
# `tokens` (N, L) what really stands there. Return the mean cross-entropy of guessing each token **from the place before
# it**. Hint: the guess at the last place has no answer, and the first token no guess.


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
# From here on it is transfer learning as we know it. The network is a row of stages. The **embedding** turns each token
# into 192 numbers. In each **block**, **attention** lets every token gather from those before it, and then each is worked
# on by itself. *Norm* brings the numbers of each token to a common scale. *Pool*, which has no parameters and no box here,
# averages over the tokens of a line, and the head, which guessed tokens, gives way to one for ten topics.

# %%
show.network(backbones.load_backbone("course_gpt/definitions", classes=10, seed=run.seed))

# %% [markdown]
# We take 20 labelled lines per topic. **Guess:** how many valid lines does a probe get right, and how many of them does it
# get on the same network that has read nothing?

# %%
few = train.take(per_class=run.few(20, quick=4), seed=run.seed)
untrained = backbones.course_gpt(seed=run.seed)


def probe_accuracy(model):
    bank, valid_bank = (training.extract(model, texts, LENGTH) for texts in (few, valid))
    # chosen for 20 labels, on other draws
    return training.linear_probe(bank, few.labels, penalty=1.0).accuracy(valid_bank, valid.labels)


frozen = probe_accuracy(gpt)
print(f"pretrained {frozen:.0%}, untrained {probe_accuracy(untrained):.0%}, guessing 10%")

# %% [markdown]
# **Takeaway.** Most of it was learned. What the untrained network has is no mystery: even random vectors differ from word to
# word, so the probe sees blurred word counts.
# <!-- live -->
#
# There is an older rival, which needs no network: **count the words** of each line, weigh rare ones more, and fit logistic
# regression on the counts.

# %%
counts = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=500, max_iter=1000))
counts.fit(few.texts, few.labels.numpy())
print(f"word counts: {counts.score(valid.texts, valid.labels.numpy()):.0%}")

# %% [markdown]
# **Takeaway.** Words alone say much about a topic. A baseline without a network belongs into every comparison, and we keep
# it in those below.
# <!-- live -->
#
# ## Reuse it: fine-tuned
#
# Now everything may move (*full*), the stages at a tenth of the head's rate, as in lesson 3. Beside it the same network **from
# scratch**, with the same number of steps and so with the same time.


# %%
def trained(pretrained, rate, head_ratio):
    model = backbones.load_backbone("course_gpt/definitions", pretrained, classes=10, seed=run.seed)
    recipe = Recipe(run.few(12), rate, head_ratio, batch=16, augment=False, seed=run.seed)
    fit(model, few, None, LENGTH, recipe)
    return model


full, scratch = trained(True, 3e-3, 10), trained(False, 1e-3, 1)
ours = accuracy(full, valid, LENGTH), accuracy(scratch, valid, LENGTH)
print(f"fine-tuned {ours[0]:.0%}, from scratch {ours[1]:.0%}, a probe on frozen features {frozen:.0%}")

# %% [markdown]
# One draw is an anecdote. The stored rows hold twenty draws of lines, each judged once on all test lines: 3,000 for topics,
# and 1,200 for the film reviews below. Rates and penalties were chosen beforehand, on five other draws and 60 valid lines of
# each class, at 20 and at 100 labels; 5 takes those of 20, and 500 those of 100. The more lines, the fewer epochs: 20 for
# five a topic, 3 for five hundred.

# %%
rows = stats.results("lesson08")
judged = rows.dropna(subset="test")
topics, films = stats.select(judged, task="topics"), stats.select(judged, task="film_reviews")
COMPARED = ["full", "linear probe", "scratch", "word counts"]
on_topics = topics[topics["method"].isin(COMPARED)]
show.label_curve(on_topics, chance=0.1, of="lines")

# %% [markdown]
# **Takeaway.** Pretraining leads from scratch at every size, and most where labels are few. The frozen probe keeps up with
# fine-tuning at five labels, and falls behind as labels come in, at 500 even behind scratch. And look at the word counts:
# they beat training from scratch everywhere, pass the probe at 100 labels, and at 500 fine-tuning too, by a little. Whether
# more epochs would close that last gap, these rows do not say. Without this line we would not know where our network is
# worth its trouble: with few labels.
# <!-- test_fine_tuning_beats_scratch_on_topics_and_most_where_labels_are_few -->
# <!-- test_a_frozen_probe_keeps_up_at_five_labels_and_falls_behind -->
# <!-- test_word_counts_beat_training_from_scratch -->
# <!-- test_word_counts_pass_the_probe_at_100_labels_and_fine_tuning_at_500 -->
#
# How far apart are they in each draw? Each dot is a draw. The star is our own run, on valid lines, with a draw that helped to
# choose the rates. On the right stands what the interval allows us to say: *more* or *less* where it leaves out zero, *the
# same within 2 points* where it lies in the grey band altogether.


# %%
def per_draw(rows, first, second, per_class):
    return stats.differences(stats.select(rows, per_class=per_class), first, second)


rivals, random = ("scratch", "linear probe", "word counts"), "linear probe, random weights"
at_20 = {f"full minus {rival}": per_draw(topics, "full", rival, 20) for rival in rivals}
at_20["linear probe minus one on random weights"] = per_draw(topics, "linear probe", random, 20)
mine = {"full minus scratch": ours[0] - ours[1], "full minus linear probe": ours[0] - frozen}
show.forest(at_20, "accuracy on topics, 20 labels each", mine if run.comparable else None)

# %% [markdown]
# **Takeaway.** At 20 labels, having read the dictionary is worth more than ten points, in every draw. Letting the weights move
# adds a little to the probe. In the last row both are frozen, and only the reading differs: the features came from it.
# <!-- test_reading_definitions_is_worth_ten_points_at_20_labels --> <!-- test_the_features_were_learned -->
#
# An interval covers new draws of lines, with new random weights and a new order. It does not cover another pretraining, since
# all draws share this one network, nor other test lines, nor another choice of rates. There are 750 lines of each topic to
# draw from: two draws of 500 share two thirds of them, so there the intervals are too narrow.
#
# Is training from scratch only too slow? Both get three times the steps, with a rate chosen for that:

# %%
longer = {
    "full: longer minus shorter": per_draw(topics, "full, longer", "full", 20),
    "scratch: longer minus shorter": per_draw(topics, "scratch, longer", "scratch", 20),
    "both longer: full minus scratch": per_draw(topics, "full, longer", "scratch, longer", 20),
}
show.forest(longer, "accuracy on topics, 20 labels each")

# %% [markdown]
# **Takeaway.** At 20 labels, three times the steps change neither by as much as two points, and the gap stays. Lesson 4 found
# nearly the same with 20 photos, while with 500, time took a part of the lead. Whether it would here, these rows do not say.
# <!-- test_three_times_the_steps_change_neither -->
#
# ## Far from home: is the film good or bad?
#
# Our topics are definitions, and so is what the network has read. Now something far: sentences of **film reviews**, each
# rated by people. We keep the clear ones, and ask whether a sentence speaks well of the film. They read like this, but
# these two are ours, for the sentences themselves may not be passed on: *A warm and clever little film.* *Two hours that I
# would like to have back.* A dictionary rarely praises anything. **Guess** what pretraining on one is worth here.

# %%
show.label_curve(films[films["method"].isin(COMPARED)], chance=0.5, of="lines")

# %%
far = {f"{n} labels: full minus scratch": per_draw(films, "full", "scratch", n) for n in (5, 20, 100, 500)}
far["500 labels: linear probe minus one on random weights"] = per_draw(films, "linear probe", random, 500)
show.forest(far, "accuracy on film reviews")

# %% [markdown]
# **Takeaway.** Here fine-tuning gains less than three points over scratch at any size, and a frozen probe a few. With 5 and 20
# labels all of ours are close to guessing, so there is little to tell apart; from 100 on, counting words is ahead. That fits
# what we know of near and far: a dictionary is a good place to learn what things are, and a poor one to learn what people
# like. One source and two tasks do not prove it.
# <!-- test_reading_definitions_is_worth_less_than_three_points_on_film_reviews -->
# <!-- test_a_frozen_probe_gains_a_few_points_from_reading_on_film_reviews -->
# <!-- test_with_few_labels_all_of_ours_are_close_to_guessing_on_film_reviews -->
# <!-- test_word_counts_overtake_the_network_on_film_reviews -->
#
# ## LoRA: move a lot by training little
#
# Fine-tuning keeps a copy of all weights for each task, and AdamW two more numbers for each weight that trains. Where the
# model is large, that is too much for most machines. **LoRA** leaves every weight where it is, and trains a detour
# beside a layer: down to a few numbers, its **rank**, and up again. The hope is that what a task has to change fits
# through so narrow a door.
#
# ### Exercise 8.2: LoRA around a layer
#
# Write `add_lora(layer, rank)` for an `nn.Linear`. Return a module that gives `layer(x) + up(down(x))`, with `down` from
# the layer's inputs to `rank` numbers and `up` from there to its outputs, both without bias. Only these two train. At the
# start it gives what the layer gives. Hint: one of the two has to begin at zero; with both at zero, no gradient would
# reach either.


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
# `backbones.add_lora` does this for the two attention layers of every block, 192 to 576 numbers and 192 to 192, with
# rank 8; it doubles what the detour adds, a fixed scale. The new head trains too. **Predict** how many of the 2.2 million
# numbers train, then count:

# %%
adapted = backbones.load_backbone("course_gpt/definitions", classes=10, seed=run.seed)
whole = backbones.count_parameters(adapted)
backbones.add_lora(adapted, rank=8, seed=run.seed)
print(f"{backbones.count_parameters(adapted, trainable=True):,} of {whole:,} numbers train")

# %%
fit(adapted, few, None, LENGTH, Recipe(run.few(12), 3e-3, batch=16, augment=False, seed=run.seed))
print(f"LoRA {accuracy(adapted, valid, LENGTH):.0%} of the valid lines, full fine-tuning {ours[0]:.0%}")

# %% [markdown]
# Another old idea is **gradual unfreezing**, after ULMFiT: first the head alone, then the last block with it, then more, a
# quarter of the epochs each.

# %%
model = backbones.load_backbone("course_gpt/definitions", classes=10, seed=run.seed)
for through in ("pool", "block3", "block1", None):
    freeze(model, through)
    fit(model, few, None, LENGTH, Recipe(run.few(3), 3e-3, 10, batch=16, augment=False, seed=run.seed))
print(f"gradual unfreezing {accuracy(model, valid, LENGTH):.0%} of the valid lines")

# %%
pairs = ("LoRA", "full"), ("LoRA", "linear probe"), ("gradual unfreezing", "full")
ways = {f"{way} minus {other}": per_draw(topics, way, other, 20) for way, other in pairs}
show.forest(ways, "accuracy on topics, 20 labels each")

# %% [markdown]
# **Takeaway.** Gradual unfreezing ends where full fine-tuning does. LoRA does not: given the same epochs it stays behind, even
# a little behind the probe. Its authors found it as good as full fine-tuning on models from fifty to eighty thousand times
# as large. Whether ours lacks rank, places, steps, a rate of its own or size, these rows do not say. What it saves is what
# we have counted: numbers to keep for each task. When training is over, the detour can be added to the layer for good
# (`backbones.merge_lora`).
# <!-- test_gradual_unfreezing_ends_where_full_fine_tuning_does -->
# <!-- test_lora_stays_behind_full_fine_tuning_and_the_probe -->
#
# ## A larger network
#
# **MiniLM** has ten times our parameters. It first learned from a larger network, and then, from more than a billion pairs of
# sentences, to give like sentences like features; and its tokens look both ways along a line. Here is a probe on its frozen
# features.

# %%
beside = pd.concat([on_topics, stats.select(topics, method="MiniLM, linear probe")])
show.label_curve(beside, chance=0.1, of="lines")

# %%
sets = {"topics": topics, "film reviews": films}
larger = {
    f"{name}, {n} labels: minus {other}": per_draw(part, "MiniLM, linear probe", other, n)
    for name, part in sets.items()
    for n in (20, 500)
    for other in ("full", "word counts")
}
show.forest(larger, "accuracy of MiniLM's probe minus ours")

# %% [markdown]
# **Takeaway.** A probe on MiniLM beats all of ours, near and far, with few labels and with many, and the word counts too. Size,
# text and what it was trained for all differ, and these rows do not part them. For a task of your own, word counts and such
# a probe cost little, so measure them first. Fine-tuning MiniLM we have not tried.
# <!-- test_a_probe_on_minilm_beats_all_of_ours_near_and_far -->
#
# The next cell asks MiniLM itself, if the extra `text` is installed; otherwise it says how to get it.

# %%
try:
    minilm = backbones.load_backbone("minilm")
    print(f"MiniLM, {backbones.count_parameters(minilm) / 1e6:.0f} million parameters: {probe_accuracy(minilm):.0%}")
except RuntimeError as missing:
    print(missing)

# %% [markdown]
# ## Was the exam in the textbook?
#
# A language model reads whatever it is given. If the test lines are among it, its score says how well it remembers. This
# has happened to large models: the makers of GPT-3 found parts of their tests in its text, and said so.
#
# ### Exercise 8.3: find the leak
#
# Write `leaked(pretraining, test)` for two lists of lines: return, as a list and in their order, all test lines that
# pretraining has read. Lines count as the same when they are equal in lower case, without spaces around them, and
# without a full stop, comma, semicolon, colon, question or exclamation mark at the end. Hint: a `set` answers "is it in
# here?" at once, where a list looks at every line.


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
    "Solve 8.3 first." if found is None else f"{len(found)} of {len(test):,} test lines are among what our GPT has read"
)

# %% [markdown]
# We had left such lines out beforehand, and with them all that share half of their word pairs with a line of the task. A
# stricter eye looks for lines that stand inside longer ones:

# %%
textbook = "\n".join(lines[: run.few(len(lines), quick=20_000)]).lower()
some = test.take(per_class=100).texts
inside = [line for line in some if line.lower() in textbook]
print(f"{len(inside)} of {len(some):,} test lines stand inside a longer line, such as {inside[0]!r}")

# %% [markdown]
# **Takeaway.** There are always more ways to leak than one has thought of. Here they are too few to matter. For networks that
# read the internet nobody can promise even that: MiniLM may well have met WordNet, and its lead be partly memory.
# <!-- live -->
#
# ## What carried over
#
# | from photos | to text |
# |---|---|
# | pretrain on a large general task | the next word, on 138,000 lines, without any label |
# | stages, frozen or not, and a new head | the same calls |
# | frozen features and a linear probe | the same, and as good as fine-tuning at five labels |
# | the head faster than the rest, gradual unfreezing | the same calls; LoRA is new here, and not tried on photos |
# | near and far tasks | the same: much for definitions, little for film reviews |
# | batch-norm's statistics drift | not here: a GPT has layer norm, which keeps none |
# | mirrored and shifted copies | not for words: a mirrored sentence is none |
# | raw pixels as the baseline | word counts, a much harder one to beat |
#
# ## Self-test
#
# Write your letters in place of `None` and run the cell.

# %% tags=["exercise"]
course.self_test("08", None, None, None)

# %% tags=["solution"]
course.self_test("08", "b", "b", "c")

# %% tags=["result"]
gain = stats.difference(stats.select(topics, per_class=20), "full", "scratch")
run.result(full_20=ours[0], scratch_20=ours[1], gain_20=gain, frozen_20=frozen, loss_before=before, loss_after=after)

# %% [markdown]
# ## Recap
#
# - A **language model** pretrains on plain text: the next word is the label. Ours first sounded right, then its words
#   existed, and sense was not finished when it stopped.
# - The recipe of the earlier lessons holds: freeze and probe, or fine-tune with careful rates. A baseline without any
#   network, **counting words**, belongs into every comparison.
# - **LoRA** trains a detour of a few numbers beside weights that stay.
# - Check that the test was not part of the source.
#
# ## References
#
# - A. Vaswani and others, *Attention Is All You Need*, 2017, https://arxiv.org/abs/1706.03762.
# - A. Radford and others, *Improving Language Understanding by Generative Pre-Training*, 2018; *Language Models are
#   Unsupervised Multitask Learners*, 2019: GPT.
# - T. Brown and others, *Language Models are Few-Shot Learners*, 2020, https://arxiv.org/abs/2005.14165: GPT-3, and its
#   section on tests that were in the text.
# - J. Howard and S. Ruder, *Universal Language Model Fine-tuning for Text Classification*, 2018,
#   https://arxiv.org/abs/1801.06146.
# - E. Hu and others, *LoRA: Low-Rank Adaptation of Large Language Models*, 2021, https://arxiv.org/abs/2106.09685.
# - W. Wang and others, *MiniLM*, 2020, https://arxiv.org/abs/2002.10957; N. Reimers and I. Gurevych, *Sentence-BERT*, 2019,
#   https://arxiv.org/abs/1908.10084: the two ideas in *all-MiniLM-L6-v2*.
# - C. Fellbaum, ed., *WordNet: An Electronic Lexical Database*, 1998. WordNet 3.0 © 2006 by Princeton University,
#   https://wordnet.princeton.edu.
# - C. Hutto and E. Gilbert, *VADER*, 2014: the ratings; the film reviews were collected by B. Pang and L. Lee, 2004.
# - A. Karpathy, *nanoGPT*, https://github.com/karpathy/nanoGPT: a GPT as short as it gets.
