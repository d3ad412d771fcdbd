"""What is compiled of each kernel file, and what must be seen in it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Compiled:
    """A kernel with the types of its arguments, and the instructions it must show.

    `sm_80` and `sm_90` name PTX instructions of one generation; `both` is in both.
    Options go to Triton's compiler: `{"num_warps": 8}`.
    """

    kernel: str  # "module:name"
    signature: dict[str, str]
    constexprs: dict[str, object]
    both: tuple[str, ...] = ()
    sm_80: tuple[str, ...] = ()
    sm_90: tuple[str, ...] = ()
    registers: int = 64
    options: dict[str, object] = field(default_factory=dict)

    def instructions(self, capability: int) -> tuple[str, ...]:
        return self.both + (self.sm_80 if capability == 80 else self.sm_90)
