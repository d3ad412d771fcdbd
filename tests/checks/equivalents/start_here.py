"""Lesson 00."""

EQUIVALENT = {
    (
        "mean_squared_error",
        "prediction - target -> target - prediction",
    ): "(-a)^2 = a^2",
}
