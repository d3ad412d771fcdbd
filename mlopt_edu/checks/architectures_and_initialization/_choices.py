"""Task 8, and the three questions of the lesson's quiz."""

from .._task import choice

which_one_to_ship = choice(
    "which_one_to_ship",
    "SqueezeNet has 1.25 million parameters and makes 819 million MACs for an image; "
    "MobileNet has 4.23 million parameters and makes 569 million MACs. Your app must "
    "answer within 50 ms on a phone, one image at a time. Which one do you ship?",
    {
        "a": (
            "SqueezeNet: with 3.4 times fewer parameters it answers sooner",
            "Parameters say how much must be stored and loaded. A convolution uses "
            "each of its weights at many places: SqueezeNet makes 1.4 times *more* "
            "MACs with them.",
        ),
        "b": (
            "MobileNet: with fewer MACs it answers sooner",
            "MACs are nearer to time than parameters, but they count only arithmetic. "
            "A depthwise layer makes 9 MACs for each number that it writes, and waits "
            "for memory. How long, no count says.",
        ),
        "c": (
            "The one that answers sooner on that phone: measure both there, with one "
            "image at a time",
            "Right. The two counts do not even agree, and neither is time. That "
            "depends on memory, on how well each kind of layer is programmed for "
            "that chip, and on the batch size. Compare the accuracy as well.",
        ),
        "d": (
            "The one that is faster on your workstation, with a batch of 256",
            "You measure, and that is good. But with another chip and another batch "
            "size other layers are the slow ones, and the order may turn round.",
        ),
    },
    answer="c",
    points=1,
    section="05 · Real data",
    module=__name__,
    hints=(
        "What is asked for is a time. Which of the numbers in the question is one?",
        "The two counts order the networks differently. So at least one of them does "
        "not tell which is faster. Does the other have to?",
        "What would you need to know about the phone to compute the time, and how "
        "could you find the time without knowing it?",
    ),
)

lower_training_loss = choice(
    "lower_training_loss",
    "You train a net of 4 layers and one of 12 on the same images. After ten epochs "
    "the deep one has a training loss of 0.08, the shallow one of 0.15. Which one is "
    "better?",
    {
        "a": (
            "The deep one: its loss is lower",
            "It fits *these* images better. A net that is large enough can learn them "
            "by heart, wrong labels included, and know nothing about others.",
        ),
        "b": (
            "The shallow one: the deep one overfits",
            "It may, or it may not: a low training loss is not overfitting by itself. "
            "Nothing here says how either net does on other images.",
        ),
        "c": (
            "That is not known until both are compared on images that neither has seen",
            "Right. The training loss tells whether the optimizer gets on. Which net "
            "is better is decided on held-out data, with several seeds.",
        ),
    },
    answer="c",
    points=0,
    section="05 · What goes wrong",
    module=__name__,
)

is_relu_linear = choice(
    "is_relu_linear",
    "“ReLU is linear on either side of zero. A chain of linear maps is a linear map, "
    "so a deep net of ReLU layers without biases is no more than one matrix.” What do "
    "you say?",
    {
        "a": (
            "True: without biases such a net is linear",
            "If it were, f(1) + f(-1) would be f(0). But ReLU(1) + ReLU(-1) = 1, and "
            "ReLU(0) = 0.",
        ),
        "b": (
            "False: linear on either side is not linear. Already two units make |x|, "
            "and no matrix does",
            "Right: ReLU(x) + ReLU(-x) = |x|, without any bias. The bend at zero is "
            "what makes depth worth having: every layer can bend the pieces of the "
            "layer before.",
        ),
        "c": (
            "True for one layer; only depth makes it more than linear",
            "One layer bends already: ReLU(x) + ReLU(-x) = |x|. If one layer were "
            "linear, a chain of them would be so too.",
        ),
    },
    answer="b",
    points=0,
    section="05 · Derive",
    module=__name__,
)

twenty_layers_later = choice(
    "twenty_layers_later",
    "You draw the weights of 20 wide ReLU layers evenly from -b to b with b = √(2 / "
    "fan_in). What happens to the size of the signal on its way through them?",
    {
        "a": (
            "It stays: √(2 / fan_in) is He's formula",
            "It is He's *standard deviation*. Numbers drawn evenly from -b to b have "
            "one of b / √3.",
        ),
        "b": (
            "It falls to about a third",
            "That is what one layer does to the *variance*. There are 20 of them.",
        ),
        "c": (
            "It falls by a factor of about 59,000",
            "Right: each layer divides the variance by 3, so 20 divide the size by "
            "√3²⁰ = 3¹⁰ = 59,049. A bound of √(6 / fan_in) keeps it.",
        ),
        "d": (
            "It grows by a factor of about 59,000",
            "It goes the other way: the spread of these weights is √3 times *smaller* "
            "than He wants.",
        ),
    },
    answer="c",
    points=0,
    section="05 · Derive",
    module=__name__,
)
