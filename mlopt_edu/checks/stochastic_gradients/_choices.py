"""The three questions of the lesson's quiz."""

from .._task import choice

two_seeds_one_curve = choice(
    "two_seeds_one_curve",
    "You train with batches of 8 out of 400 examples, twice, from the same start but "
    "with different seeds for the shuffling. Both runs print the same loss in every "
    "step, to the last digit. What has happened?",
    {
        "a": (
            "The learning rate is small enough that the noise does not show",
            "A small lr makes the curves *similar*. Different batches still differ in "
            "the later digits.",
        ),
        "b": (
            "Nothing unusual: on average a batch has the gradient of all examples",
            "On average, yes. A single batch of 8 is off by a good deal, and two "
            "seeds are off in different directions.",
        ),
        "c": (
            "The batch is drawn, and the gradient does not use it",
            "Right. The loss falls, so no one looks; but each step goes over all 400 "
            "examples. Two seeds with one curve are the sign.",
        ),
    },
    answer="c",
    points=0,
    section="02 · What goes wrong",
    module=__name__,
)

four_times_the_batch = choice(
    "four_times_the_batch",
    "You draw batches of 64 instead of 16, from 50,000 examples. What happens to the "
    "distance at which a batch's gradient typically lies from the full one?",
    {
        "a": (
            "It halves",
            "Right: the variance falls to a quarter, and the distance with its root. "
            "Four times the work for half the noise.",
        ),
        "b": (
            "It falls to a quarter",
            "That is the variance, the *squared* distance. The distance goes with its "
            "root.",
        ),
        "c": (
            "It hardly changes: both are tiny parts of the data",
            "What counts is how many examples are averaged, not which share of the "
            "data they are. The share matters only when it comes near 1.",
        ),
    },
    answer="a",
    points=0,
    section="02 · Derive",
    module=__name__,
)

momentum_switched_on = choice(
    "momentum_switched_on",
    "Plain descent works well with lr = 0.1. You switch on momentum 0.9, in torch's "
    "form, and keep the lr. The gradient hardly changes from step to step. How long "
    "are your steps after a while?",
    {
        "a": (
            "As long as before: momentum only smooths",
            "That would be the averaging form, with the gradient weighed by 1 - 0.9. "
            "In torch's form the gradient enters with weight 1.",
        ),
        "b": (
            "1.9 times as long",
            "So is the second step. The third adds 0.9² more, and it goes on.",
        ),
        "c": (
            "10 times as long",
            "Right: 1 + 0.9 + 0.9² + … = 1 / (1 - 0.9) = 10. If lr = 0.1 was near the "
            "best, try a smaller one with momentum.",
        ),
    },
    answer="c",
    points=0,
    section="02 · Derive",
    module=__name__,
)
