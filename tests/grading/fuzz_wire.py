"""Fuzzes what the judge reads from an answer process, with atheris (libFuzzer).

    pip install atheris
    python -m tests.grading.fuzz_wire -max_total_time=60

Whatever the bytes are, they become a plain value that survives the trip again, or one
of the two refusals. Anything else that is raised is a finding.
"""

import importlib
import json
import sys


def main() -> None:
    """Fuzz until libFuzzer has had enough."""
    import atheris  # type: ignore[import-untyped]

    with atheris.instrument_imports(include=["mlopt_edu.grading"]):
        for name in ("wire", "process", "run"):
            importlib.import_module(f"mlopt_edu.grading.{name}")
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


def once(data: bytes) -> None:
    """Read one line as the judge does."""
    from mlopt_edu.grading import wire
    from mlopt_edu.grading.process import ProcessDiedError, parse_reply
    from mlopt_edu.grading.run import read_answer

    try:
        reply = parse_reply(data)
    except ProcessDiedError:
        return
    answer = read_answer(reply)
    text = json.dumps(wire.encode(answer.value), allow_nan=False)
    again = wire.decode(json.loads(text))
    assert json.dumps(wire.encode(again)) == text


if __name__ == "__main__":
    main()
