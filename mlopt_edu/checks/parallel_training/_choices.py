"""The three questions of the lesson's quiz."""

from .._task import choice

spawn_without_guard = choice(
    "spawn_without_guard",
    "A script starts four ranks with `multiprocessing` and the start method spawn. The "
    "call stands at the top level, without `if __name__ == '__main__':`. What happens?",
    {
        "a": (
            "Four ranks run: the guard is a matter of style",
            "With spawn each new process imports the script, to find the function that "
            "it should run. Without the guard the import reaches the call again.",
        ),
        "b": (
            "Each new process reaches the call too, and Python stops it with an error",
            "Right: a spawned process imports the script first. Python notices that it "
            "is about to start processes while it still starts up, and raises a "
            "RuntimeError. With the guard only the first process makes the call.",
        ),
        "c": (
            "One rank runs, because the others share its lock, the GIL",
            "Every process has a GIL of its own: that is why there are processes. What "
            "fails here is how they start.",
        ),
    },
    answer="b",
    points=0,
    section="14 · What goes wrong",
    module=__name__,
)

amdahl_limit = choice(
    "amdahl_limit",
    "On one rank a step takes 100 ms, of which 20 ms stay as they are on any number of "
    "ranks. The rest divides evenly, and sending is free. How fast are 8 ranks?",
    {
        "a": (
            "8 times as fast, an efficiency of 100 %",
            "Only 80 of the 100 ms divide. The step takes 20 + 80 / 8 = 30 ms.",
        ),
        "b": (
            "6.4 times as fast, an efficiency of 80 %",
            "You took 80 % of 8. The 20 ms weigh more the shorter the rest becomes: "
            "20 + 80 / 8 = 30 ms.",
        ),
        "c": (
            "3.3 times as fast, an efficiency of 42 %",
            "Right: 100 / (20 + 80 / 8) = 3.3, and a share of 3.3 / 8 of the ideal. "
            "However many ranks you add, it never gets 5 times as fast (Amdahl).",
        ),
        "d": (
            "5 times as fast, an efficiency of 63 %",
            "That is the limit for infinitely many ranks, 100 / 20. Eight take "
            "20 + 80 / 8 = 30 ms.",
        ),
    },
    answer="c",
    points=0,
    section="14 · Derive",
    module=__name__,
)

where_tpus_fit = choice(
    "where_tpus_fit",
    "You move a training loop to TPUs, through XLA. Its batches have another length "
    "in every step. What do you have to change first?",
    {
        "a": (
            "Nothing: what runs on a GPU runs as fast on a TPU",
            "It would run, slowly. XLA compiles the whole step for the shapes that it "
            "sees, and a new shape means to compile again.",
        ),
        "b": (
            "The shapes: pad to a few fixed lengths, so that little is compiled anew",
            "Right: XLA compiles a program for fixed shapes, and puts the collectives "
            "into it. A few padded lengths mean a few programs.",
        ),
        "c": (
            "The schemes: data, tensor and pipeline parallelism exist on GPUs only",
            "The schemes are the same; XLA has all-reduce and all-gather. "
            "You say how arrays are split, and the compiler puts in what is sent.",
        ),
    },
    answer="b",
    points=0,
    section="14 · Derive",
    module=__name__,
)
