"""Task 9, and the three questions of the lesson's quiz."""

from .._task import choice

which_is_adaptive = choice(
    "which_is_adaptive",
    "You train the same network on two data sets, for equally many steps. Which of "
    "these methods takes different step sizes on them, because it is adaptive?",
    {
        "a": (
            "lr / sqrt(step + 1)",
            "This is a pure decay. It knows the number of the step and nothing else, "
            "so both runs get the same step sizes. Blogs do call it adaptive.",
        ),
        "b": (
            "A cosine with warm restarts",
            "Its step sizes go up and down, but at steps fixed beforehand. It does not "
            "look at what training shows, so both runs get the same.",
        ),
        "c": (
            "lr over the root of a running mean of squared gradients, for each weight",
            "Right: this looks at the gradients, so other data give other step sizes, "
            "and each weight has its own. It is the subject of lesson 03.",
        ),
        "d": (
            "A tenth of the lr after every 30 epochs",
            "Someone may have looked at a loss curve to choose the 30. The rule "
            "itself sees only the step, and both runs get the same step sizes.",
        ),
    },
    answer="c",
    points=1,
    section="04 · What goes wrong",
    module=__name__,
    hints=(
        "For each of them: what would you have to know to compute its tenth step size?",
        "A schedule is a function of the step. An adaptive method needs more.",
        "Look for the one that cannot be computed before training starts.",
    ),
)

mirror_step = choice(
    "mirror_step",
    "You minimise f(w) = w² from w = 3 with the step size 1 / sqrt(step + 1). Where is "
    "w after the first step?",
    {
        "a": (
            "Nearer to the minimum: a decay makes every step safe",
            "The decay has not begun at step 0: its factor is 1. Compute 3 - 1 · 6.",
        ),
        "b": (
            "At -3, the mirror image",
            "Right: the gradient is 6, and 3 - 6 = -3. The loss is as high as before: "
            "the curvature is 2, and lr · λ = 2 mirrors the error. A base lr of at "
            "most 1 / λ = 0.5 does not cross the minimum; a warm-up helps as well.",
        ),
        "c": (
            "At 0: the step is exactly long enough",
            "That is the base lr 1 / λ = 0.5; here it is twice as large.",
        ),
    },
    answer="b",
    points=0,
    section="04 · What goes wrong",
    module=__name__,
)

once_an_epoch = choice(
    "once_an_epoch",
    "A schedule has 500 warm-up steps of 10,000 in all: 100 epochs of 100 batches. By "
    "mistake the loop moves it on once an epoch. What does the training see?",
    {
        "a": (
            "The same schedule in coarser stairs",
            "That would need constants that count epochs: 5 and 100.",
        ),
        "b": (
            "A warm-up that never ends: the last factor is about a fifth",
            "Right: after 100 epochs it has counted 100 of its 500 warm-up steps. "
            "Nothing crashes, the loss falls slowly, and no one sees why.",
        ),
        "c": (
            "A schedule that is over after one epoch",
            "That is the reverse mistake: constants in epochs, and moved on once a "
            "batch.",
        ),
    },
    answer="b",
    points=0,
    section="04 · What goes wrong",
    module=__name__,
)

where_to_stop = choice(
    "where_to_stop",
    "Warm restarts with a first period of 10 epochs, each period twice as long as the "
    "one before. After how many epochs are good moments to stop?",
    {
        "a": (
            "10, 20, 30, 40",
            "These would be the ends of equal periods. Here the second period ends "
            "after 30 epochs, and after 20 you are in the middle of it.",
        ),
        "b": (
            "10, 30, 70, 150",
            "Right: the periods last 10, 20, 40 and 80 epochs, and at the end of each "
            "the steps are short. One epoch later the factor is near 1 again and "
            "the loss jumps up: a run stopped there is a bad model.",
        ),
        "c": (
            "10, 20, 40, 80",
            "These are the *lengths* of the periods. Add them up to find where each "
            "ends.",
        ),
    },
    answer="b",
    points=0,
    section="04 · Derive",
    module=__name__,
)
