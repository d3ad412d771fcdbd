"""Task 8, and the three questions of the lesson's quiz."""

from .._task import choice

what_eps_does = choice(
    "what_eps_does",
    "You raise Adam's eps from 1e-8 to 0.1. One weight has gradients of steadily "
    "0.001, another of steadily 10. What changes?",
    {
        "a": (
            "Both weights are pulled towards zero: eps is a regularizer",
            "eps stands below the fraction and never meets the weight, so it pulls "
            "nowhere. What pulls weights towards zero is weight decay.",
        ),
        "b": (
            "Nothing: eps is there only to avoid a division by zero",
            "At 1e-8 that is nearly all it does. But 0.1 is a hundred times the first "
            "weight's gradient: compare it with the root beside it.",
        ),
        "c": (
            "The first weight's steps become about 100 times shorter, the second's "
            "about 1 %",
            "Right: 0.001 / (0.001 + 0.1) against 10 / (10 + 0.1). Below eps Adam "
            "stops rescaling: a weight with small gradients moves as under SGD with "
            "momentum and step size lr / eps.",
        ),
        "d": (
            "The steps of both weights become 10 million times shorter",
            "eps is *added* to the root and does not multiply it. Where the root is "
            "10, another 0.1 is hardly felt.",
        ),
    },
    answer="c",
    points=1,
    section="03 · What goes wrong",
    module=__name__,
    hints=(
        "For a steady gradient g, what are the two corrected averages?",
        "The step is lr · g / (|g| + eps). Put in the numbers.",
        "Once eps is far above |g|, once far below it. Which of the two steps notices?",
    ),
)

uncorrected_start = choice(
    "uncorrected_start",
    "Adam with betas (0.9, 0.999) and *without* bias correction. How long is its very "
    "first step, for each weight?",
    {
        "a": (
            "About 3.2 · lr: too long",
            "Right: 0.1 · g over the root of 0.001 · g². The squares' average is "
            "further from its true size than the gradients', so the quotient is too "
            "large.",
        ),
        "b": (
            "0.1 · lr: too short",
            "The average of the gradients is a tenth of its true size, yes. But the "
            "one below the fraction is too small as well, and by more.",
        ),
        "c": (
            "lr: both averages are too small by the same factor",
            "One is too small by 0.1, the other by the root of 0.001, about 0.03. "
            "They do not cancel.",
        ),
    },
    answer="a",
    points=0,
    section="03 · Derive",
    module=__name__,
)

rare_word = choice(
    "rare_word",
    "Under AdaGrad, one word occurs in each of 10,000 steps, another in 100 of them. "
    "When a word occurs, its gradient has size 1. Afterwards both occur once more. How "
    "do the two steps compare?",
    {
        "a": (
            "They are equally long: the gradients are equally large",
            "So it is with plain gradient descent. AdaGrad divides by the root of "
            "everything that it has seen of the *word*.",
        ),
        "b": (
            "The rare word's step is 100 times longer",
            "Its total is 100 times smaller, but the *root* of the total is what "
            "divides.",
        ),
        "c": (
            "The rare word's step is about 10 times longer",
            "Right: roots of about 100 and 10,000, so 10 against 100. A rare feature "
            "keeps a large rate until it has been seen.",
        ),
        "d": (
            "The frequent word's step is about 10 times longer",
            "Other way round: what has been seen often has the larger total, and the "
            "total divides.",
        ),
    },
    answer="c",
    points=0,
    section="03 · Real data",
    module=__name__,
)

l2_under_adam = choice(
    "l2_under_adam",
    "You add 0.0001 · w to the gradient and call it weight decay; the optimizer is "
    "Adam. Two weights are equally large. The gradients of one are about 100, those "
    "of the other about 0.01. Which one decays more?",
    {
        "a": (
            "Both alike: the pull is the same 0.0001 · w",
            "It is the same *before* the division. Adam then divides it, together "
            "with the gradient, by the root of the squares' average.",
        ),
        "b": (
            "The one with the large gradients",
            "Other way round: its root is large, and the pull is divided by it.",
        ),
        "c": (
            "The one with the small gradients, about 10,000 times more",
            "Right: the pull is divided by about 100 in one and by about 0.01 in the "
            "other. AdamW adds the decay after the division, and both decay alike.",
        ),
    },
    answer="c",
    points=0,
    section="03 · What goes wrong",
    module=__name__,
)
