"""The three questions of the lesson's quiz."""

from .._task import choice

huber_criterion = choice(
    "huber_criterion",
    "A blog prunes “by Huber loss”: it gives each weight the score |w| if |w| > 0.1 "
    "and 0 otherwise, and prunes the lowest scores. What is that?",
    {
        "a": (
            "The Huber loss: it cuts small values off and is linear in large ones",
            "The Huber loss cuts nothing off. Near 0 it is the parabola w² / 2, and "
            "further out a straight line; only 0 itself has the loss 0.",
        ),
        "b": (
            "Magnitude pruning, except that all weights up to 0.1 are tied",
            "Right: it is a thresholded absolute value. Among the ties chance decides. "
            "Even the real Huber loss would change nothing, because it grows with "
            "|w| everywhere: it ranks the weights as |w| does.",
        ),
        "c": (
            "A better criterion than magnitude, because outliers count for less",
            "In a ranking only the order counts. These scores have the order of |w|, "
            "or none at all among the small weights.",
        ),
    },
    answer="b",
    points=0,
    section="10 · Derive",
    module=__name__,
)

snip_when_trained = choice(
    "snip_when_trained",
    "A network is trained until the gradient of its training loss is 0. You score each "
    "weight w by SNIP, |w · g|, where g is the gradient over the whole training set. "
    "What do you get?",
    {
        "a": (
            "The magnitudes, because all gradients are the same",
            "All gradients are 0, and so is everything that you multiply by them.",
        ),
        "b": (
            "0 for every weight: the first order says nothing at a minimum",
            "Right. SNIP is made for the start of training. Taylor's score takes the "
            "gradients of many batches and *squares* each before it adds them up; they "
            "cancel in the mean, and their squares do not.",
        ),
        "c": (
            "A good ranking: the loss has never been lower",
            "At a minimum each weight has the same first-order effect on the loss, "
            "none. What removing it does shows in second order only.",
        ),
    },
    answer="b",
    points=0,
    section="10 · Derive",
    module=__name__,
)

masked_and_faster = choice(
    "masked_and_faster",
    "You mask 90 % of the weights of a 1000 × 1000 linear layer: fp32, a mask of one "
    "byte a weight, all shapes as they were. What happens to its memory and its time?",
    {
        "a": (
            "A tenth of the memory, ten times as fast",
            "The zeros are stored, and they are multiplied: 4 MB as before. A matrix "
            "product does not look at what it multiplies.",
        ),
        "b": (
            "A tenth of the memory, but as slow as before",
            "Nothing leaves the memory: the layer holds 4 MB of weights as before, "
            "zeros included, and 1 MB of mask besides.",
        ),
        "c": (
            "More memory than before, and no faster",
            "Right: 4 MB of weights and 1 MB of mask. Stored as CSR it would be "
            "0.8 MB, since each weight that is left brings a column of 4 bytes along. "
            "Time falls when shapes do, or with a sparse product at low density.",
        ),
        "d": (
            "The same memory, and faster, since a product with 0 costs nothing",
            "A processor multiplies by 0 as it does by any other number. And the mask "
            "is one more array to store.",
        ),
    },
    answer="c",
    points=0,
    section="10 · What goes wrong",
    module=__name__,
)
