"""The three questions of the lesson's quiz."""

from .._task import choice

longest_int8_sum = choice(
    "longest_int8_sum",
    "A linear layer multiplies int8 inputs by int8 weights, all of them possibly -128, "
    "and adds the products up in an int32. How many products are safe?",
    {
        "a": (
            "Two: their sum may be 32,768",
            "That is where an int16 ends, at 32,767: it holds one product of 16,384 "
            "but not two. An int32 goes to 2,147,483,647.",
        ),
        "b": (
            "131,071",
            "Right: a product is 16,384 = 2¹⁴ at most, and 131,071 of them fit below "
            "2³¹ - 1; one more makes 2³¹. Few layers are that wide, so the sum of an "
            "int8 layer is exact.",
        ),
        "c": (
            "As many as you like, because the result is scaled down to int8 again",
            "It is scaled down *after* the sum. A sum that has run over once is wrong, "
            "and no scale brings it back.",
        ),
    },
    answer="b",
    points=0,
    section="11 · Write it small",
    module=__name__,
)

smoothed_outlier = choice(
    "smoothed_outlier",
    "One input channel of a linear layer is 20 times as large as the others, and int8 "
    "inputs with one scale lose the small ones. SmoothQuant divides that channel by "
    "10. What must happen to the weights?",
    {
        "a": (
            "Their column for that input is multiplied by 10",
            "Right: the products, and so the outputs, are what they were. The "
            "difficulty moves into the weights, whose range is narrower, and which "
            "can have a scale for each channel.",
        ),
        "b": (
            "Their column for that input is divided by 10 as well",
            "Then every product with that input is a hundredth of what it was. One "
            "side is divided, and the other multiplied.",
        ),
        "c": (
            "Nothing: the next layer will adapt",
            "Nothing is trained here. Without a correction that input would count a "
            "tenth of what it did.",
        ),
        "d": (
            "All rows are multiplied by 10",
            "That would scale all inputs. A row belongs to an *output*; the channel "
            "that was divided is a column.",
        ),
    },
    answer="a",
    points=0,
    section="11 · Derive",
    module=__name__,
)

mixed_by_name = choice(
    "mixed_by_name",
    "A script replaces every weight of every layer by its sign, stores it as float32, "
    "and reports “mixed-precision quantization, 32 times smaller”. What is true of it?",
    {
        "a": (
            "It is mixed precision, because weights have one bit and inputs 32",
            "Mixed precision gives *layers* different numbers of bits. Here all layers "
            "have the same, and inputs were not touched.",
        ),
        "b": (
            "It is 32 times smaller, since a sign is one bit",
            "A sign could be one bit, but ±1 in float32 takes 32 like any other "
            "number. Pack eight signs into a byte, and then count.",
        ),
        "c": (
            "It is one bit everywhere, without a scale, and no smaller",
            "Right. It is binary and uniform, stored in as many bytes as before. "
            "And it lacks the scale: weights of size 0.02 have become ±1, 50 times as "
            "large.",
        ),
    },
    answer="c",
    points=0,
    section="11 · What goes wrong",
    module=__name__,
)
