"""Task 8, and the three questions of the lesson's quiz."""

from .._task import choice

what_now = choice(
    "what_now",
    "The losses of the first five steps are 0.50, 0.65, 0.85, 1.10, 1.43: about 30 % "
    "more each time. The gradient is right. What do you do?",
    {
        "a": (
            "Train longer",
            "Waiting does not help: each step multiplies the error by the same factor "
            "above 1, and the next hundred steps will too.",
        ),
        "b": (
            "Make the step size smaller",
            "Right: growth by a steady factor means that lr is above 2 / λ_max.",
        ),
        "c": (
            "Make the step size larger",
            "The step already overshoots the valley by more than it came from; a "
            "larger one overshoots further.",
        ),
        "d": (
            "Start somewhere else",
            "A start without any error in the steep direction exists, but rounding "
            "alone brings that direction back. The step size is the cause.",
        ),
    },
    answer="b",
    points=1,
    section="01 · What goes wrong",
    module=__name__,
    hints=(
        "Does the loss creep, or grow by a steady factor?",
        "A factor above 1 in some direction: what makes |1 - lr λ| larger than 1?",
        "Compare lr with 2 / λ_max.",
    ),
)

nearly_the_bound = choice(
    "nearly_the_bound",
    "A valley has the curvatures 1 and 4, so the bound on lr is 0.5. You raise lr from "
    "0.25 to 0.49. What happens to the number of steps you need?",
    {
        "a": (
            "It halves: the steps are twice as long",
            "In the flat direction, yes: its factor falls from 0.75 to 0.51. But look "
            "at the steep one: 1 - 4 · 0.49.",
        ),
        "b": (
            "It grows: the steep direction now decides",
            "Right. At 0.25 the factors are 0.75 and 0, at 0.49 they are 0.51 and "
            "-0.96: it jumps from side to side. Best is 2 / (1 + 4) = 0.4, with 0.6.",
        ),
        "c": (
            "Descent diverges",
            "Not yet: below the bound every factor is smaller than 1 in size.",
        ),
    },
    answer="b",
    points=0,
    section="01 · Derive",
    module=__name__,
)

scale_one_feature = choice(
    "scale_one_feature",
    "You record one feature in metres instead of kilometres: its column of X becomes "
    "1000 times larger. Nothing else changes. What happens to the largest stable lr?",
    {
        "a": (
            "Nothing: it is the same data",
            "The data tell the same story, but the loss as a function of *w* has "
            "another shape: along that weight it is far steeper.",
        ),
        "b": (
            "It becomes about 1000 times smaller",
            "More than that: the Hessian holds products of *two* features, so the "
            "curvature along this weight grows with the square.",
        ),
        "c": (
            "It becomes up to a million times smaller",
            "Right: the curvature along this weight grows by 1000², and soon it is "
            "the largest. That is why features are standardised first.",
        ),
    },
    answer="c",
    points=0,
    section="01 · Real data",
    module=__name__,
)

reading_a_curve = choice(
    "reading_a_curve",
    "On a logarithmic axis the loss falls steeply for 20 steps, then along a straight, "
    "nearly flat line. What does the second part show?",
    {
        "a": (
            "The minimum is reached",
            "At the minimum the line would be level, at the smallest loss possible. "
            "This one still falls, by the same factor in each step.",
        ),
        "b": (
            "The gradient is wrong",
            "A wrong gradient would hardly give a straight line on a logarithmic axis.",
        ),
        "c": (
            "The flat directions: their error shrinks by a factor near 1",
            "Right. The steep directions are done after a few steps; what is left "
            "shrinks by 1 - lr λ_min a step. Momentum, in lesson 02, helps here.",
        ),
    },
    answer="c",
    points=0,
    section="01 · Derive",
    module=__name__,
)
