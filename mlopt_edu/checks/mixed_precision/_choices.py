"""Task 6, and the three questions of the lesson's quiz."""

from .._task import choice

stays_in_fp32 = choice(
    "stays_in_fp32",
    "You train a Transformer in mixed precision, with fp16 as the short format and a "
    "loss scaler. Which of these should stay in fp32?",
    {
        "a": (
            "The large matrix products: most of the arithmetic is there",
            "That is why they should be *short*: they are where 16 bits save time. The "
            "hardware adds up their sums in fp32, so little is lost.",
        ),
        "b": (
            "The weights that the optimizer updates, its running means, the loss",
            "Right. An update is far smaller than its weight, a squared gradient "
            "of 1e-8 is 1e-16 and 0 in fp16, and exp(12) in the loss is 162755, "
            "above the largest fp16 number, 65504.",
        ),
        "c": (
            "The activations that are kept for the backward pass",
            "They are most of the memory, and each is used once, without adding up "
            "errors over many steps. In 16 bits they take half the room.",
        ),
        "d": (
            "Nothing: the loss scaler takes care of the small numbers",
            "It lifts the *gradients* over fp16's lower end. It does not help a weight "
            "of 1 that should move by 1e-4: half the spacing there is 4.9e-4.",
        ),
    },
    answer="b",
    points=1,
    section="16 · What goes wrong",
    module=__name__,
    hints=(
        "Where do small numbers meet large ones, or add up over many steps?",
        "What costs the most time and memory should be short, if it can bear it.",
        "Think of your tasks 2 and 5: which numbers would fp16 turn into 0, and which "
        "sums would stand still?",
    ),
)

bf16_or_fp16 = choice(
    "bf16_or_fp16",
    "A gradient is 1e-8, and 0.002 is added to a weight of 1. What do the two formats "
    "make of them?",
    {
        "a": (
            "fp16 loses the gradient, bfloat16 loses the update",
            "Right. fp16 ends at 6e-8, so 1e-8 becomes 0. bfloat16 reaches down to "
            "1e-38 and below, but above 1 its numbers are 0.0078 apart: 1.002 is "
            "rounded back to 1.",
        ),
        "b": (
            "bfloat16 loses the gradient, fp16 loses the update",
            "The other way round: bfloat16 has the exponent of fp32, 8 bits, so it is "
            "the one that reaches down to 1e-8.",
        ),
        "c": (
            "Both lose both: they have 16 bits each",
            "They spend them differently: fp16 has 10 bits for the fraction and 5 for "
            "the exponent, bfloat16 has 7 and 8.",
        ),
        "d": (
            "bfloat16 keeps both: it is fp32, only shorter",
            "It is shorter in the fraction: 7 bits of 23 are left, which is two to "
            "three decimal digits. 1.002 needs more.",
        ),
    },
    answer="a",
    points=0,
    section="16 · Derive",
    module=__name__,
)

clip_when = choice(
    "clip_when",
    "The loss scale is 1024, the gradient's true norm is 0.5, and you clip at norm 1. "
    "What happens if you clip before you unscale?",
    {
        "a": (
            "Nothing: 0.5 is below the limit",
            "It would be, after unscaling. The norm that is compared here is "
            "1024 · 0.5 = 512.",
        ),
        "b": (
            "The gradient ends up 512 times too short",
            "Right: the scaled norm, 512, is cut to 1, and unscaling makes it 1/1024. "
            "It should have stayed 0.5. And when the scaler doubles the scale, the "
            "limit halves: nothing in your code says so.",
        ),
        "c": (
            "The gradient ends up 1024 times too long",
            "Clipping never lengthens. Compare the scaled norm, 512, with the limit.",
        ),
    },
    answer="b",
    points=0,
    section="16 · What goes wrong",
    module=__name__,
)

scaler_for_bf16 = choice(
    "scaler_for_bf16",
    "You change a training loop from fp16 to bfloat16. Does it still need the loss "
    "scaler?",
    {
        "a": (
            "No: the exponent has as many bits as that of fp32",
            "Right. What fp32 can hold as a normal number, from 1.2e-38 up, bfloat16 "
            "does not turn into 0, so there is nothing to lift. Its weak side, the "
            "short fraction, is not mended by a scale.",
        ),
        "b": (
            "Yes: it has fewer bits for the fraction, so it loses more",
            "It loses more *digits*. A scale that is a power of 2 changes no digit: it "
            "only moves the exponent.",
        ),
        "c": (
            "Yes: every 16-bit format has gradients that become 0",
            "For fp16 that begins at 3e-8. For bfloat16 it begins below 1e-40, where "
            "fp32 itself is about to end.",
        ),
    },
    answer="a",
    points=0,
    section="16 · Derive",
    module=__name__,
)
