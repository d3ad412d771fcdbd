"""Exercise 12."""

EQUIVALENT = {
    (
        "attention_transfer",
        "(features ** 2).sum -> (features ** 2).mean",
    ): "a factor of the whole map, which its length takes away",
}
