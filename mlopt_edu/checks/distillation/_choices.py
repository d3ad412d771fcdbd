"""The three questions of the lesson's quiz."""

from .._task import choice

why_t_squared = choice(
    "why_t_squared",
    "You distil at temperature 1 and then at 10, with the divergence of the softened "
    "probabilities but without the factor T². The logits are of ordinary size. What "
    "happens to the gradient that reaches the student's?",
    {
        "a": (
            "Nothing: the softmax divides both nets' logits alike",
            "The divergence compares what the softmax gives, and at T = 10 both nets' "
            "probabilities are nearly equal. There is little left to pull at.",
        ),
        "b": (
            "It becomes about 10 times smaller",
            "That is one factor 1/T, from the division inside the softmax. The gap of "
            "the softened probabilities shrinks like 1/T as well.",
        ),
        "c": (
            "It becomes nearly 100 times smaller",
            "Right: one factor 1/T from the division inside the softmax, another since "
            "the gap of the probabilities shrinks like 1/T. T² gives both back, so a "
            "new temperature does not call for new weights.",
        ),
        "d": (
            "It becomes larger, since soft targets say more",
            "They say more about the small classes, relative to one another. Their gap "
            "to the student's is smaller.",
        ),
    },
    answer="c",
    points=0,
    section="12 · Derive",
    module=__name__,
)

called_distillation = choice(
    "called_distillation",
    "A team trains a small net for a week, copies its layers into a larger one, adds "
    "new ones, and trains that on. Their slide says “distilled from the small net”. "
    "What is it?",
    {
        "a": (
            "Distillation: the large net knows what the small one knew",
            "It has the small net's *weights*. In distillation a student learns from "
            "a teacher's *answers*, with weights of its own.",
        ),
        "b": (
            "Growing and fine-tuning: weights are handed on, and no teacher is asked",
            "Right. With Net2Net the large net even starts as the same function. It "
            "may save training time, and it makes nothing smaller.",
        ),
        "c": (
            "Distillation in reverse: the student is larger than its teacher",
            "A student may well be larger. But nobody learns from answers here: no "
            "output of the small net is in the loss.",
        ),
    },
    answer="b",
    points=0,
    section="12 · Compare",
    module=__name__,
)

weights_as_targets = choice(
    "weights_as_targets",
    "A teacher has hidden layers of 512 units, the student of 64. A colleague wants to "
    "add the squared distance of their *weights* to the loss, after cutting the "
    "teacher's matrices to the student's size. What do you say?",
    {
        "a": (
            "Good: the student gets the most important weights",
            "The first 64 of 512 units are not the most important ones; their order "
            "is chance. Shuffle the units, and the teacher computes the same function "
            "with quite another upper left corner.",
        ),
        "b": (
            "Good, if a learnt projection brings the matrices to the same size",
            "A projection makes the shapes fit, and nothing else. Weights of two nets "
            "have no common meaning: what one unit does hangs on all the others.",
        ),
        "c": (
            "Compare what the nets compute: logits, or features through a projector",
            "Right. Two nets with quite other weights may compute the same function, "
            "so the distance of weights says nothing. Outputs have the same meaning "
            "in both nets, and a projector can learn to match features.",
        ),
    },
    answer="c",
    points=0,
    section="12 · What goes wrong",
    module=__name__,
)
