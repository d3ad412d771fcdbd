"""Task 8, and the three questions of the lesson's quiz."""

from .._task import choice

no_exact_zeros = choice(
    "no_exact_zeros",
    "You add 0.01 · Σ|w| to the loss of a network and train it with plain SGD, "
    "lr 0.1. Afterwards many weights are tiny, and not one of them is exactly 0. Why?",
    {
        "a": (
            "The penalty is too weak; with ten times as much the zeros would appear",
            "The step of the penalty has the length lr · 0.01 = 0.001, however small "
            "the weight is, and so jumps over 0. With ten times as much it jumps ten "
            "times as far. Only by chance would it land on 0.",
        ),
        "b": (
            "L1 has no exact zeros; only counting the weights in the loss makes them",
            "At its *minimum* a loss with L1 does have exact zeros: the Lasso is "
            "known for them. It is the walk that never arrives there.",
        ),
        "c": (
            "A floating-point number can never be exactly 0",
            "It can: 0 has an exact form, and your `soft_threshold` returns it.",
        ),
        "d": (
            "The slope of |w| is ±1 right up to 0: the weight jumps over 0 and back, "
            "by about 0.001 each time",
            "Right: nothing in the step stops at 0. The soft threshold does, with the "
            "threshold lr · 0.01 = 0.001 after every step along the loss alone. To cut "
            "small weights off at the end is pruning: then you choose the zeros.",
        ),
    },
    answer="d",
    points=1,
    section="07 · What goes wrong",
    module=__name__,
    hints=(
        "A weight is 0.0004 and the loss does not care about it. Where is it after one "
        "step of the penalty, and after two?",
        "The slope of the penalty is 0.01 · sign(w). How does it depend on the size "
        "of w?",
        "What would a step have to do to *end* at 0, from wherever it starts? Compare "
        "with your task 1.",
    ),
)

forgotten_eval = choice(
    "forgotten_eval",
    "A network ends with Dropout(0.5) before its last layer. You forget `model.eval()` "
    "and compute the test accuracy twice. What do you see?",
    {
        "a": (
            "Twice the accuracy that eval() would give: dropout is rescaled, so the "
            "mean is right",
            "The mean over all masks is right. But each prediction sees one mask, and "
            "the noise that is left is as large as the activations themselves.",
        ),
        "b": (
            "Two different accuracies, as a rule both lower than with eval()",
            "Right: every pass draws other masks. With p = 0.5 each activation is 0 or "
            "doubled, so its standard deviation is its own size, and some predictions "
            "tip over. Two scores that differ are the sign to look for.",
        ),
        "c": (
            "Twice the accuracy that eval() would give: all logits are half as large, "
            "and their order is the same",
            "Half as large *on average* they would be without the rescaling. And half "
            "of the activations is missing, so the order does change.",
        ),
    },
    answer="b",
    points=0,
    section="07 · What goes wrong",
    module=__name__,
)

smoothed_minimum = choice(
    "smoothed_minimum",
    "Ten classes, cross-entropy with label smoothing 0.1 shared among all of them. "
    "One example, and you may choose its logits freely. Where is its loss lowest?",
    {
        "a": (
            "Where the right logit is infinitely far above the others",
            "There the other classes have probability 0, and each has a target of "
            "0.01: minus its log is infinite. Without smoothing this would be right.",
        ),
        "b": (
            "Where the right logit is about 4.5 above the others; the loss is then "
            "about 0.5",
            "Right: the loss is lowest where the predictions equal the targets, 0.91 "
            "and nine times 0.01, and log(0.91 / 0.01) is 4.5. What is left of the "
            "loss is the entropy of the targets; it is never 0.",
        ),
        "c": (
            "Where the right logit is about 4.5 above the others; the loss is then 0",
            "The place is right. But even predictions equal to the targets cost the "
            "entropy of the targets: about 0.5.",
        ),
        "d": (
            "Where all logits are equal: smoothing asks for uniform predictions",
            "That is so with smoothing 1. Here nine tenths still ask for the label.",
        ),
    },
    answer="b",
    points=0,
    section="07 · Derive",
    module=__name__,
)

stopped_on_test = choice(
    "stopped_on_test",
    "From some epoch on a network does not change any more in quality: its true loss "
    "stays at 0.50. The *measured* test loss has an independent error in each epoch, "
    "with standard deviation 0.02. You train 100 such epochs, keep the one with the "
    "lowest test loss, and report that loss. What do you report, on average?",
    {
        "a": (
            "0.50: no weight was trained on the test set",
            "The weights were not, but the epoch was: you took the lowest of 100 "
            "noisy numbers, and that one is low because of its error.",
        ),
        "b": (
            "0.498: the error of the mean, 0.02 / √100, lower",
            "You did not take the mean of the 100 numbers. You took the lowest.",
        ),
        "c": (
            "About 0.45",
            "Right: the lowest of 100 normal errors is on average 2.5 standard "
            "deviations below 0. Choose by a validation set, and the test loss of that "
            "epoch is 0.50 on average, as it should be.",
        ),
        "d": (
            "About 0.55: early stopping makes the reported loss worse",
            "You keep the *lowest* loss. Its error is negative, as a rule.",
        ),
    },
    answer="c",
    points=0,
    section="07 · What goes wrong",
    module=__name__,
)
