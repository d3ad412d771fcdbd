"""The three questions of the lesson's quiz."""

from .._task import choice

faster_arithmetic = choice(
    "faster_arithmetic",
    "A kernel adds two float32 vectors at 95 % of a GPU's bandwidth. A new GPU has "
    "twice the peak in operations a second, and the same bandwidth. How much faster "
    "is the kernel on it, about?",
    {
        "a": (
            "Twice as fast",
            "That would be so if it waited for arithmetic. It makes one operation for "
            "12 bytes; the arithmetic was idle most of the time before, and is more "
            "so now.",
        ),
        "b": (
            "Not faster",
            "Right: the time is that of the bytes. Only fewer bytes make it faster: "
            "16-bit numbers, or fusing it with what comes before or after.",
        ),
        "c": (
            "Somewhere between, since both times add up",
            "They do not add up. The device loads and computes at the same time, so "
            "the longer one counts, and that is the one of the bytes.",
        ),
    },
    answer="b",
    points=0,
    section="15 · Derive",
    module=__name__,
)

right_without_a_mask = choice(
    "right_without_a_mask",
    "A kernel without any mask passes all tests: they compare its output with torch, "
    "for 1024, 4096 and 65,536 elements in blocks of 256. What do you know?",
    {
        "a": (
            "It needs no mask",
            "For these sizes it does not: 256 divides each of them. The first size "
            "that it does not divide leaves the arrays.",
        ),
        "b": (
            "A test with 1000 elements would have failed",
            "Not this test: it compares the output, and for 1000 elements the output "
            "is right too. What breaks lies behind it.",
        ),
        "c": (
            "Nothing about the edge: it takes another size and a look behind the "
            "output",
            "Right. A size that the block does not divide lets lanes stick out, and "
            "poison around the output shows that they wrote.",
        ),
    },
    answer="c",
    points=0,
    section="15 · Write it small",
    module=__name__,
)

larger_tiles = choice(
    "larger_tiles",
    "A tiled product of large matrices is bound by memory. Its tiles grow from 64 × "
    "64 to 128 × 128 outputs, and still fit. What happens to the bytes that are "
    "loaded?",
    {
        "a": (
            "A quarter, because there are a quarter of the tiles",
            "There are, but each of them loads twice as many rows and twice as many "
            "columns: half in all.",
        ),
        "b": (
            "Half, because each loaded number is used twice as often",
            "Right: x is read once for each column of tiles and y once for each row "
            "of tiles, and there are half as many of both.",
        ),
        "c": (
            "The same, because each number must be loaded in any case",
            "At least once, but tiles load it many times: once for each tile that "
            "needs it, unless it is still in the cache.",
        ),
    },
    answer="b",
    points=0,
    section="15 · Derive",
    module=__name__,
)
