"""The three questions that end each lesson, with feedback for every option."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A question, its options as (text, feedback), and the position of the right one."""

    text: str
    options: tuple[tuple[str, str], ...]
    right: int


QUIZZES: dict[str, tuple[Question, ...]] = {
    "00": (
        Question(
            "In the pretrained network with a probe: what was fitted to our 100 photos?",
            (
                ("All of it.", "The backbone ran, but nothing in it moved: only the probe was fitted."),
                ("A linear classifier on its features.", "It takes the place of the old head."),
                ("The first stage.", "Every stage in front of the head was frozen."),
            ),
            1,
        ),
        Question(
            "Why did we put the same probe on the same network with random weights?",
            (
                ("To find out how fast our machine is.", "Speed is measured elsewhere."),
                ("Because random weights need no download.", "True, and not the reason."),
                ("To separate what pretraining gives from what the architecture gives.", "Only the weights differ."),
            ),
            2,
        ),
        Question(
            "One run gives 66 %. What may we say about the method?",
            (
                ("That it reaches 66 %.", "Another draw of 100 photos gives another number."),
                ("Little, until we see how much other draws vary.", "That is why stored rows carry an interval."),
                ("That 66 % is its upper limit.", "One draw is neither the best nor the worst."),
            ),
            1,
        ),
    ),
    "01": (
        Question(
            "Which photos may the network see while it is being pretrained?",
            (
                ("All photos, as long as the labels differ.", "Then the new task's photos would not be new."),
                ("Training photos of the source classes only.", "Target classes and test photos stay out."),
                ("Source and target classes, without test photos.", "The target classes must be new to it."),
            ),
            1,
        ),
        Question(
            "The pretrained network has never seen a deer. What did it bring to the task with deer and horses?",
            (
                ("A better start: the same steps lead to a better network.", "That is what the paired gain measures."),
                ("An output for deer in its head.", "Its head knows only the five source classes."),
                ("Nothing: it only trained for longer.", "Scratch with ten times the epochs is in the stored rows."),
            ),
            0,
        ),
        Question(
            "What does a checkpoint need besides its weights?",
            (
                ("Nothing: the weights say it all.", "They do not say which output means which class."),
                ("The optimiser's memory.", "Only to go on training exactly where we stopped."),
                ("A card: classes, photos, recipe, accuracy.", "Without it, nobody can use or judge the weights."),
            ),
            2,
        ),
    ),
    "02": (
        Question(
            "We want to try twenty heads on one frozen backbone. How often does each photo go through it?",
            (
                ("Once.", "Its features never change, so we compute them once and keep them."),
                ("Twenty times.", "Nothing in the backbone changes between the heads."),
                ("Once per epoch and head.", "That is what fine-tuning would cost."),
            ),
            0,
        ),
        Question(
            "All weights have requires_grad=False, yet the frozen network changes while a head trains. Why?",
            (
                ("The optimiser still moves the weights.", "Without a gradient it has nothing to move them by."),
                ("Batch-norm updates its running statistics in training mode.", "They are buffers, not parameters."),
                ("The head takes over the backbone's weights.", "The head only reads what the backbone gives."),
            ),
            1,
        ),
        Question(
            "Which stage should we take features from?",
            (
                ("Always the last one.", "It is tuned to the source task; sometimes an earlier one fits better."),
                ("The one with the best accuracy on test photos.", "Then the test photos are no longer unseen."),
                ("The one with the best accuracy on valid photos.", "Choose on valid, report on test."),
            ),
            2,
        ),
    ),
    "03": (
        Question(
            "No parameter of the backbone has a gradient. We call model.train() and run a batch. What changes in it?",
            (
                ("Nothing: there is no gradient.", "Batch-norm's statistics need none."),
                ("Batch-norm's running mean and variance.", "They follow every batch in training mode."),
                ("Its weights, through weight decay.", "The optimiser touches only tensors that have a gradient."),
            ),
            1,
        ),
        Question(
            "Over five draws, gradual unfreezing minus full fine-tuning is -1 point [-4, 3]. What may we say?",
            (
                ("Gradual unfreezing is worse.", "The interval holds zero: another five draws may turn it round."),
                ("These rows cannot tell the two apart.", "A narrower interval needs more draws."),
                ("The two are equally good.", "Not being able to tell is not the same as being equal."),
            ),
            1,
        ),
        Question(
            "Which way of reusing a backbone forgets nothing of the old task, for certain?",
            (
                ("Training only a new head on frozen features.", "The backbone is the same, bit for bit."),
                ("Full fine-tuning at a small rate.", "A small rate still moves the backbone."),
                ("Giving the head ten times the backbone's rate.", "The backbone moves more slowly, but it moves."),
            ),
            0,
        ),
    ),
    "04": (
        Question(
            "A gain is +3.1 points, with a 95 % interval from -0.4 to +6.6. What goes into the decision guide?",
            (
                ("Transfer helps by 3.1 points.", "The interval holds zero: other draws may turn it round."),
                ("These draws cannot tell; take what is cheaper.", "More draws would narrow the interval."),
                ("Transfer does not help.", "It may well: the interval reaches up to 6.6 points."),
            ),
            1,
        ),
        Question(
            "The vehicles source gives ship or truck 9 points, the animals source 7. Is that the worth of similarity?",
            (
                ("Only together with the other target.", "If vehicles is better on animals too, it is just better."),
                ("Yes: 2 points.", "A source can be better for every target; then similarity explains nothing."),
                ("Yes, if both intervals stay above zero.", "They say that each helps, not why one helps more."),
            ),
            0,
        ),
        Question(
            "We search 100 cells for negative transfer, and 2 intervals lie below zero. What do we know?",
            (
                ("In these two cells transfer hurts.", "About 2 or 3 of 100 would lie there by chance alone."),
                ("Transfer never hurts.", "We found no proof of harm, which is not a proof of none."),
                ("As many as chance alone gives.", "Run these two cells again with new draws, and see."),
            ),
            2,
        ),
    ),
    "05": (
        Question(
            "Fine-tuning ends below the frozen network with the same photos. Where do we look first?",
            (
                ("The number of epochs: more of them.", "More steps go further in the same wrong direction."),
                ("Batch-norm's statistics, then the backbone's rate.", "Both can spoil what pretraining stored."),
                ("The architecture: a larger network.", "The frozen network was good; the training spoiled it."),
            ),
            1,
        ),
        Question(
            "A network is right in 80 % of its answers, and says 95 % on average. What does a temperature of 2 change?",
            (
                ("Its answers become better.", "The largest logit stays the largest: every answer is the same."),
                ("Its probabilities move closer to what is true.", "Dividing logits makes it less sure, not wiser."),
                ("Nothing, since all logits shrink alike.", "The answers stay, but softmax gives other probabilities."),
            ),
            1,
        ),
        Question(
            "A Grad-CAM map glows on the deer's forest, not on the deer. What have we learned?",
            (
                ("What speaks for deer in this network lies there.", "It may have learned forests along with deer."),
                ("The network is broken.", "It may answer well as long as deer come with forests."),
                ("Grad-CAM does not work at this stage.", "It shows what it shows; cover the place and see."),
            ),
            0,
        ),
    ),
    "07": (
        Question(
            "A folder holds three copies of most photos, slightly cropped. Cross-validation says 99 %. Why so much?",
            (
                ("The classifier is that good.", "It has seen a copy of nearly every photo that it is asked about."),
                ("Copies of one photo are in different parts.", "Near-duplicates must stay together."),
                ("Cropping makes photos easier.", "Perhaps, but remembering a copy is easier still."),
            ),
            1,
        ),
        Question(
            "Cross-validation gives 85 % [77 %, 91 %] on 100 photos. What do we expect on our friend's photos?",
            (
                ("Between 77 % and 91 %.", "That is for photos like those in the folder. Hers may differ."),
                ("85 %.", "Another 100 photos of the same kind would already give another number."),
                ("Perhaps less, until we have measured it.", "Another camera, place or season is another task."),
            ),
            2,
        ),
        Question(
            "We show a cup to a classifier of cats and dogs. It says dog, with 97 %. What is wrong?",
            (
                ("Nothing: it must choose one of its classes.", "Its probability is only among cats and dogs."),
                ("Its temperature.", "A calibrated classifier is calibrated on cats and dogs, not on cups."),
                ("It needs more photos of dogs.", "However many it has, a cup is neither."),
            ),
            0,
        ),
    ),
}
