"""Everything that was handed in is found, is someone's, and is read or refused."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import subprocess
import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt_edu.grading import archive
from mlopt_edu.grading.exercise import Exercise
from mlopt_edu.grading.extract import read
from mlopt_edu.grading.labels import safe
from mlopt_edu.grading.owner import time_of
from mlopt_edu.grading.submissions import Found, content, find
from mlopt_edu.grading.untrusted import MAX_FILE, UnreadableError

CORPUS = Path(__file__).parent / "submissions"
RIGHT = (CORPUS / "v4_5.ipynb.txt").read_bytes()
STAMP = b"2015-02-02 15:58:23.948203 UTC\n"
Files = Mapping[str, bytes]


def write(folder: Path, files: Files) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def zipped(files: Files, *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        for name, text in files.items():
            file.writestr(zipfile.ZipInfo(name), text, method)
    return data.getvalue()


def tarred(files: Files) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            file.addfile(info, io.BytesIO(text))
    return data.getvalue()


def reason(found: Found) -> str:
    """Return why a submission cannot be read, "" if it can."""
    try:
        content(found)
    except UnreadableError as error:
        return str(error)
    return ""


def by_label(found: list[Found]) -> dict[str, str]:
    return {one.label: one.student for one in found}


# Whose it is, and when it came.

CANVAS = {
    "lovelaceada_12345_67890_hw.ipynb": RIGHT,
    "lovelaceada_777_67891_hw-1.ipynb": RIGHT,
    "hoppergrace_LATE_222_67892_01_gradient_descent.ipynb": RIGHT,
    "anon_aB3dE_67893_hw.ipynb": RIGHT,
    "noetheremmy_333_67894_report.pdf": b"%PDF",
    "turingalan_444_67895_work.zip": zipped({"deep/hw.ipynb": RIGHT, "a.csv": b""}),
}
CANVAS_OWNERS = {
    "anon_aB3dE_67893_hw": "anon_aB3dE",
    "hoppergrace_LATE_222_67892_01_gradient_descent": "hoppergrace_222",
    "lovelaceada_12345_67890_hw": "lovelaceada_12345",
    "lovelaceada_777_67891_hw-1": "lovelaceada_777",
    "noetheremmy_333_67894_report.pdf": "noetheremmy_333",
    "turingalan_444_67895_work.zip/deep/hw": "turingalan_444",
}
MOODLE = {
    "Ada Lovelace_111_assignsubmission_file_/hw.ipynb": RIGHT,
    "Ada Lovelace_111_assignsubmission_file_/timestamp.txt": STAMP,
    "Ada Lovelace_222_assignsubmission_file/sub/hw.ipynb": RIGHT,
    "Emmy Noether_333_assignsubmission_file_report_v2.ipynb": RIGHT,
    "Alan Turing_444_assignsubmission_onlinetext_/onlinetext.html": b"<p>",
}
MOODLE_OWNERS = {
    "Ada Lovelace_111_assignsubmission_file_/hw": "Ada Lovelace_111",
    "Ada Lovelace_222_assignsubmission_file/sub/hw": "Ada Lovelace_222",
    "Alan Turing_444_assignsubmission_onlinetext_": "Alan Turing_444",
    "Emmy Noether_333_assignsubmission_file_report_v2": "Emmy Noether_333",
}
GRADESCOPE = {
    "submission_metadata.yml": b"""
submission_1:
  :submitters:
  - :name: Ada Lovelace
    :sid: '111'
    :email: ada@example.org
  :created_at: 2026-04-26 17:34:00.861687000 Z
  :score: 2.0
  :results: !ruby/hash:ActiveSupport::HashWithIndifferentAccess
    output: |-
      :created_at: 1999-01-01 00:00:00 Z
submission_2:
  :submitters:
  - :name: Grace Hopper
    :email: grace@example.org
  - :name: Emmy Noether
submission_3:
  :submitters: []
""",
    "submission_1/hw.ipynb": RIGHT,
    "submission_2/hw.ipynb": RIGHT,
    "submission_3/notes.txt": b"x",
}
NBGRADER = {
    "ada/hw1/hw.ipynb": RIGHT,
    "ada/hw1/timestamp.txt": STAMP,
    "grace/hw1/hw.ipynb": RIGHT,
    "emmy/hw1/timestamp.txt": b"yesterday, more or less",
    "emmy/hw1/hw.ipynb": RIGHT,
}
PLAIN = {
    "ada.ipynb": RIGHT,
    "ada.py": b"",
    "grace/01_gradient_descent.ipynb": RIGHT,
    "emmy/work.py": b"",
    "emmy/helpers.ipynb": RIGHT,
    "notes/README.md": b"",
    "README.md": b"",
    "grades.csv": b"",
    ".hidden.ipynb": RIGHT,
    ".ipynb_checkpoints/ada-checkpoint.ipynb": RIGHT,
    "grace/.ipynb_checkpoints/x-checkpoint.ipynb": RIGHT,
    "__MACOSX/._ada.ipynb": b"",
    "grace/.DS_Store": b"",
    "earlier/class.json": b"{}",
    "earlier/results/ada.ipynb": RIGHT,
}
PLAIN_OWNERS = {
    "ada": "ada",
    "emmy/helpers": "emmy",
    "emmy/work": "emmy",
    "grace/01_gradient_descent": "grace",
    "notes": "notes",
}


@pytest.mark.parametrize(
    ("files", "owners"),
    [(CANVAS, CANVAS_OWNERS), (MOODLE, MOODLE_OWNERS), (PLAIN, PLAIN_OWNERS)],
    ids=["canvas", "moodle", "plain"],
)
def test_whose_it_is(files: Files, owners: dict[str, str], tmp_path: Path) -> None:
    folder = write(tmp_path / "class", files)
    assert by_label(find(folder)) == owners
    if files is PLAIN:  # a folder with one of a kind: as an archive, see below
        return
    export = tmp_path / "export.zip"
    export.write_bytes(zipped(files))
    assert by_label(find(export)) == owners
    lone = write(tmp_path / "lone", {"export.zip": zipped(files), "README": b""})
    assert by_label(find(lone)) == {f"export.zip/{k}": v for k, v in owners.items()}
    wrapped = {f"hw 1/{name}": data for name, data in files.items()}
    export.write_bytes(zipped(wrapped))
    assert list(by_label(find(export)).values()) == list(owners.values())


def test_canvas_says_who_was_late(tmp_path: Path) -> None:
    found = find(write(tmp_path, CANVAS))
    assert [one.student for one in found if one.late] == ["hoppergrace_222"]
    assert [one.user_id for one in found] == [
        "aB3dE", "222", "12345", "777", "333", "444"
    ]  # fmt: skip
    assert {one.submitted for one in found} == {None}
    pdf = next(one for one in found if one.student == "noetheremmy_333")
    assert reason(pdf) == (
        "nothing of it is a notebook (*.ipynb): noetheremmy_333_67894_report.pdf"
    )


def test_gradescope_tells_who_and_when(tmp_path: Path) -> None:
    wrapped = {f"assignment_1_export/{k}": v for k, v in GRADESCOPE.items()}
    for place in (
        write(tmp_path / "class", GRADESCOPE),
        write(tmp_path / "outer", wrapped),
        write(tmp_path / "lone", {"x.zip": zipped(wrapped)}),
    ):
        found = {one.student: one for one in find(place)}
        assert set(found) == {
            "111", "grace@example.org", "Emmy Noether", "submission_3"
        }  # fmt: skip
        assert found["111"].submitted == datetime(
            2026, 4, 26, 17, 34, 0, 861687, tzinfo=UTC
        )
        group = [found["grace@example.org"], found["Emmy Noether"]]
        assert group[0].label != group[1].label
        assert group[0].label.rpartition("/")[2].startswith("hw~")
        assert content(group[0]) == content(group[1]) == RIGHT
        assert "nothing of it is a notebook" in reason(found["submission_3"])


@pytest.mark.parametrize(
    "metadata",
    [b"", b"\xff", b"a: [", b"3", b"[1]", b"submission_1: 3", b"submission_1: {}",
     b"submission_1: {':submitters': [3, {':sid': null}], ':created_at': x}",
     b"submission_1: {':submitters': 1, ':created_at': 2026-99-99 17:34:00 Z}",
     b"? {a: 1}\n: 2", b"a: &a [*a, !!python/object/apply:os.system [ls]]"],
)  # fmt: skip
def test_broken_metadata_leaves_the_folders_names(
    metadata: bytes, tmp_path: Path
) -> None:
    files = {**GRADESCOPE, "submission_metadata.yml": metadata}
    found = find(write(tmp_path, files))
    assert {one.student for one in found} >= {"submission_1", "submission_2"}
    assert {one.submitted for one in found} == {None}


def test_nbgrader_tells_who_and_when(tmp_path: Path) -> None:
    course = {f"submitted/{name}": data for name, data in NBGRADER.items()}
    course |= {"source/hw1/hw.ipynb": RIGHT, "autograded/ada/hw1/hw.ipynb": RIGHT}
    for place, prefix in (
        (write(tmp_path / "submitted", NBGRADER), ""),
        (write(tmp_path / "course", course), "submitted/"),
        (write(tmp_path / "lone", {"x.zip": zipped(NBGRADER)}), "x.zip/"),
    ):
        found = find(place)
        assert by_label(found) == {
            f"{prefix}{name}/hw1/hw": name for name in ("ada", "emmy", "grace")
        }
        assert [one.submitted for one in found] == [
            datetime(2015, 2, 2, 15, 58, 23, 948203, tzinfo=UTC), None, None
        ]  # fmt: skip
    one = {name: data for name, data in NBGRADER.items() if name.startswith("ada")}
    one |= {"ada/hw2/hw.ipynb": RIGHT, "ada/hw2/timestamp.txt": STAMP}
    assert set(by_label(find(write(tmp_path / "one", one))).values()) == {"ada"}


def test_a_learner_cannot_write_the_time(tmp_path: Path) -> None:
    inner = zipped({"ada/hw/hw.ipynb": RIGHT, "ada/hw/timestamp.txt": STAMP})
    files = {"Ada_1_assignsubmission_file_/hw/timestamp.txt": STAMP,
             "Ada_1_assignsubmission_file_/hw/hw.ipynb": RIGHT,
             "grace/hw.zip": inner, "emmy.ipynb": RIGHT}  # fmt: skip
    found = find(write(tmp_path, files))
    assert len(found) == 3
    assert {one.submitted for one in found} == {None}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-02 03:04:05 UTC", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (
            "2026-01-02 03:04:05.25 -0530",
            datetime(
                2026, 1, 2, 3, 4, 5, 250000,
                tzinfo=timezone(-timedelta(hours=5, minutes=30)),
            ),
        ),
        ("2026-01-02 03:04:05 CET", None),  # whose summer time?
        ("2026-13-02 03:04:05 UTC", None),
        ("2026-01-02 03:04:05 +99:99", None),
        ("", None),
        (None, None),
    ],
)  # fmt: skip
def test_times(text: object, time: datetime | None) -> None:
    assert time_of(text) == time


def test_what_was_found_travels(tmp_path: Path) -> None:
    found = find(write(tmp_path, CANVAS))
    assert pickle.loads(pickle.dumps(found)) == found


# Archives.


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("x.zip", lambda data: data),
        ("x.tar", lambda data: data),
        ("x.tar.gz", gzip.compress),
        ("x.TGZ", gzip.compress),
        ("x.tar.bz2", bz2.compress),
        ("x.tar.xz", lzma.compress),
    ],
)
def test_archives_of_every_kind(
    name: str, pack: object, tmp_path: Path, exercise: Exercise
) -> None:
    assert callable(pack)
    files = {
        "ada.ipynb": RIGHT,
        "__MACOSX/._ada.ipynb": b"\0",
        ".DS_Store": b"",
        "grace/.ipynb_checkpoints/hw.ipynb": b"",
        "grace/hw.ipynb": RIGHT,
        "emmy.zip": zipped({"a\\hw.ipynb": RIGHT}),
        "alan.zip": b"PK no more",
        "/home/kurt/hw.ipynb": RIGHT,
        "../../etc/cron.d/x.ipynb": RIGHT,
    }
    data = zipped(files) if name == "x.zip" else tarred(files)
    (tmp_path / name).write_bytes(pack(data))
    for place, prefix in ((tmp_path / name, ""), (tmp_path, f"{name}/")):
        found = {one.label.removeprefix(prefix): one for one in find(place)}
        assert {label: one.student for label, one in found.items()} == {
            "ada": "ada", "grace/hw": "grace", "emmy.zip/a/hw": "emmy",
            "alan.zip": "alan", "home/kurt/hw": "home",
            f"{safe('..')}/{safe('..')}/etc/cron.d/x": safe(".."),
        }  # fmt: skip
        assert reason(found.pop("alan.zip")) == archive.BROKEN
        (hostile,) = (one for label, one in found.items() if "cron" in label)
        assert reason(hostile) == "its name leads out of the archive"
        for label in ("ada", "grace/hw", "emmy.zip/a/hw", "home/kurt/hw"):
            assert set(read(found[label], [exercise]).answers) == set(exercise.tasks)


def test_a_folder_of_archives_one_a_learner(tmp_path: Path) -> None:
    two = zipped({"01.ipynb": RIGHT, "02.ipynb": RIGHT})
    files = {"ada.zip": two, "grace/work.tar": tarred({"sub/x.ipynb": RIGHT}),
             "emmy.zip": zipped({"report.pdf": b""}), "alan.zip": zipped({}),
             "kurt.rar": b"Rar!", "david.7z": b"7z"}  # fmt: skip
    found = find(write(tmp_path, files))
    assert by_label(found) == {
        "ada.zip/01": "ada", "ada.zip/02": "ada", "alan.zip": "alan",
        "david.7z": "david", "emmy.zip": "emmy", "grace/work.tar/sub/x": "grace",
        "kurt.rar": "kurt",
    }  # fmt: skip
    sub = {"a/01.ipynb": RIGHT, "b/02.ipynb": RIGHT}
    lone = write(tmp_path / "lone", {"x/ada.zip": zipped(sub)})
    assert set(by_label(find(lone)).values()) == {"x"}
    lone = write(tmp_path / "only", {"anon_ada_1_x.zip": zipped(sub)})
    assert set(by_label(find(lone)).values()) == {"anon_ada"}
    assert [reason(one) for one in found] == [
        "", "", "the archive is empty",
        "a 7Z archive cannot be read here; hand in the notebook or a zip",
        "nothing of it is a notebook (*.ipynb): report.pdf", "",
        "a RAR archive cannot be read here; hand in the notebook or a zip",
    ]  # fmt: skip


def test_an_archive_in_an_archive_in_an_archive(tmp_path: Path) -> None:
    deep = zipped({"c.zip": zipped({"hw.ipynb": RIGHT}), "hw.ipynb": RIGHT})
    (tmp_path / "x.zip").write_bytes(zipped({"a.zip": deep, "b.ipynb": RIGHT}))
    found = find(tmp_path / "x.zip")
    assert by_label(found) == {"a.zip/c.zip": "a", "a.zip/hw": "a", "b": "b"}
    assert "an archive in an archive in an archive" in reason(found[0])
    lone = write(tmp_path / "c", {"x.zip": zipped({"a.zip": zipped({"d.zip": deep})})})
    (one,) = find(lone)
    assert "an archive in an archive in an archive" in reason(one)


def test_the_last_of_two_members_with_one_name_counts(tmp_path: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        warnings.simplefilter("ignore")  # zipfile warns of just this
        for data in (b"old", RIGHT):
            file.writestr("hw.ipynb", data)
    (found,) = find(tmp_path)
    assert content(found) == RIGHT


def test_links_in_archives_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for kind in (
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.FIFOTYPE,
            tarfile.CHRTYPE,
        ):
            info = tarfile.TarInfo(f"{kind.decode()}.ipynb")
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
    link = zipfile.ZipInfo("z.ipynb")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as zip_file:
        zip_file.writestr(link, "/etc/passwd")
    assert {reason(one) for one in find(tmp_path)} == {
        "it is a link or device, not a file", "it is a symbolic link, not a file"
    }  # fmt: skip


def test_an_encrypted_zip(tmp_path: Path) -> None:
    (tmp_path / "hw.ipynb").write_bytes(RIGHT)
    try:
        subprocess.run(
            ["zip", "-q", "-P", "secret", "ada.zip", "hw.ipynb"],
            cwd=tmp_path, check=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("there is no zip program here")
    (tmp_path / "hw.ipynb").unlink()
    (found,) = find(tmp_path)
    assert reason(found) == "it is encrypted; hand it in without a password"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_zip(method: int, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"hw.ipynb": RIGHT}, method=method))
    (found,) = find(tmp_path)
    assert "compressed in an unusual way" in reason(found)


def test_bombs(tmp_path: Path) -> None:
    zeros = bytes(MAX_FILE)
    bombs = {
        "ratio.zip": zipped({"x.ipynb": zeros}),
        "large.zip": zipped({"x.ipynb": zeros + b"1"}),
        "large.tar.gz": gzip.compress(tarred({"x.ipynb": zeros + b"1"})),
        "inner.zip": zipped({"x.zip": zipped({"x.ipynb": zeros})}),
        # A pax header that says it is 8 GB long.
        "pax.tar": _header(b"x", 2**33) + bytes(1024),
        "name.tar": _header(b"L", 2**33) + bytes(1024),
    }
    found = {one.label: reason(one) for one in find(write(tmp_path, bombs))}
    assert found == {
        "ratio.zip/x": "it unpacks to far more than a notebook does",
        "large.zip/x": found["large.tar.gz/x"],
        "large.tar.gz/x": "the file is larger than 20 MB; clear the notebook's "
        "outputs and hand it in again",
        "inner.zip/x.zip/x": "it unpacks to far more than a notebook does",
        "pax.tar": "the archive unpacks to more than it may",
        "name.tar": "the archive unpacks to more than it may",
    }


def _header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def test_a_zip_that_lies_about_its_size(tmp_path: Path) -> None:
    whole = zipped({"x.ipynb": RIGHT})
    size = struct.pack("<L", len(RIGHT))
    assert whole.count(size) == 2
    (tmp_path / "small.zip").write_bytes(whole.replace(size, struct.pack("<L", 9)))
    (tmp_path / "large.zip").write_bytes(
        whole.replace(size, struct.pack("<L", len(RIGHT) + 9))
    )
    large, small = find(tmp_path)
    assert content(large) == RIGHT
    assert reason(small) == archive.BROKEN


def test_limits_of_number_and_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{i}.ipynb": RIGHT for i in range(9)}
    write(tmp_path, {"a.zip": zipped(files), "b.tar": tarred(files), "c.ipynb": RIGHT})
    for name, value, said in (
        ("MAX_MEMBERS", 8, "the archive holds more than 8 files"),
        ("MAX_TOTAL", 9 * len(RIGHT) - 1, "the archive unpacks to more than"),
        ("MAX_DIRECTORY", 100, "the archive holds more files than it may"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(archive, name, value)
            for path in tmp_path.iterdir():
                os.utime(path, ns=(value, value))  # an open archive is kept
            problems = {one.label: one.problem for one in find(tmp_path)}
        assert problems["c"] == ""
        assert problems["a.zip"].startswith(said)
        assert name == "MAX_DIRECTORY" or problems["b.tar"].startswith(said)


def test_zip64_is_read_and_its_directory_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)  # zip64 from 2 files on
    data = zipped({"01.ipynb": RIGHT, "02.ipynb": RIGHT})
    monkeypatch.undo()
    assert b"PK\6\6" in data
    (tmp_path / "ada.zip").write_bytes(data)
    assert [content(one) for one in find(tmp_path / "ada.zip")] == [RIGHT, RIGHT]
    place = data.index(b"PK\6\6") + 40
    huge = data[:place] + struct.pack("<Q", 2**40) + data[place + 8 :]
    (tmp_path / "ada.zip").write_bytes(huge)
    with pytest.raises(ValueError, match="more files than it may"):
        find(tmp_path / "ada.zip")


def test_an_archive_that_changed_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "ada.zip"
    for data in (RIGHT, RIGHT + b" "):
        path.write_bytes(zipped({"x.ipynb": data}))
        (found,) = find(tmp_path)
        assert content(found) == data
    path.unlink()
    assert reason(found) == "the archive cannot be read any more"


@given(st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_damaged_archives(
    kind: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    files = {"ada.ipynb": RIGHT[:300], "b/x.zip": zipped({"y.ipynb": b"{}"})}
    raw = bytearray(zipped(files) if kind == "zip" else tarred(files))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path = tmp_path_factory.mktemp("x") / f"x.{kind}"
    path.write_bytes(raw)
    for place in (path, path.parent):
        try:
            found = find(place)
        except ValueError:
            continue
        assert all(one.student and len(reason(one)) < 300 for one in found)


# Files that are none, and names that are none.


def test_files_that_are_no_submission(tmp_path: Path) -> None:
    folder = write(tmp_path / "class", {"right.ipynb": RIGHT, "empty.ipynb": b""})
    (folder / "link.ipynb").symlink_to("/etc/hostname")
    (folder / "dangling.ipynb").symlink_to("nowhere")
    (folder / "loop.ipynb").symlink_to("loop.ipynb")
    (folder / "linked_folder").symlink_to(tmp_path)
    (folder / "linked.zip").symlink_to(folder / "right.ipynb")
    (folder / "round").mkdir()
    (folder / "round" / "again").symlink_to(folder)
    (folder / "a_folder.ipynb").mkdir()
    os.mkfifo(folder / "pipe.ipynb")
    os.mkfifo(folder / "pipe.zip")
    with (folder / "huge.ipynb").open("wb") as file:
        file.truncate(2**40)  # refused before it is read
    deep = folder.joinpath("deep", *"abcdefghij")
    write(deep, {"x.ipynb": RIGHT})
    found = {one.label: reason(one) for one in find(folder)}
    link = "the file is a symbolic link, not a notebook"
    assert found == {
        "right": "", "empty": "", "link": link, "dangling": link, "loop": link,
        "linked.zip": link, "a_folder": "the folder is empty",
        "pipe": "it is not a file", "pipe.zip": "it is not a file",
        "round": "nothing of it is a notebook (*.ipynb): again",
        "huge": "the file is larger than 20 MB; clear the notebook's outputs and "
        "hand it in again",
        "deep/a/b/c/d/e/f/g": "it lies too many folders deep",
    }  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    write(tmp_path, {"a.ipynb": RIGHT, "b/x.ipynb": RIGHT, "c.zip": zipped({})})
    for name in ("a.ipynb", "b", "c.zip"):
        (tmp_path / name).chmod(0)
    found = {one.label: reason(one) for one in find(tmp_path)}
    (tmp_path / "b").chmod(0o700)
    denied = "the file cannot be read: permission denied"
    folder = denied.replace("file", "folder")
    assert found == {"a": denied, "b": folder, "c.zip": denied}


ODD_NAMES = [
    b"new\nline.ipynb", b"tab\t.ipynb", b"\x1b[31mred.ipynb",
    "\u202egnp.ipynb".encode(),
    "👩‍🔬.ipynb".encode(), b"not \xff utf-8.ipynb", "Å.ipynb".encode(),
    "A\u030a.ipynb".encode(), b"Ada.ipynb", b"ADA.ipynb", b"ada.ipynb", b"ada .ipynb",
    b"con.ipynb", b"COM1.x.ipynb", b"a:b*c?.ipynb", b"<img src=x onerror=1>.ipynb",
    b"x" * 249 + b".ipynb", b"x" * 248 + b"y.ipynb", b"-rf.ipynb", b"a..ipynb",
    b"results.json.ipynb", b"..a.ipynb"[2:], b"a\\b.ipynb", b"~.ipynb", b"'.ipynb",
    b"AdA~000000.ipynb", b"x.json/y.ipynb", b"x.ipynb",
]  # fmt: skip


def test_names_of_every_kind(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path / "class")
    os.mkdir(root)
    os.mkdir(root + b"/x.json")
    for name in ODD_NAMES:
        with open(root + b"/" + name, "wb") as file:
            file.write(RIGHT)
    found = find(tmp_path / "class")
    assert len(found) == len(ODD_NAMES)
    assert {reason(one) for one in found} == {""}
    labels = [one.label for one in found]
    assert len({label.casefold() for label in labels}) == len(labels)
    assert len({one.student.casefold() for one in found}) == len(found) - 3  # Ada, Å
    for one in found:
        assert one.student
        for part in one.label.split("/"):
            assert part.isprintable()
            assert not set(part) & set('<>:"|?*\\')
            assert len(part.encode()) < 200
        # What the grader does with it.
        target = tmp_path / "out" / f"{one.label}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        assert not target.exists()
        target.write_text(json.dumps({"label": one.label, "student": one.student}))
    assert {"Å~" in label for label in labels} == {True, False}
    assert labels == [one.label for one in find(tmp_path / "class")]
    plain = {"-rf", "~", "'"}
    assert plain < set(labels)


def test_a_learner_cannot_take_anothers_label(tmp_path: Path) -> None:
    first = find(write(tmp_path / "1", {"Ada.ipynb": b"", "ada.ipynb": b""}))
    forged = {f"{one.label}.ipynb": b"" for one in first}
    found = find(write(tmp_path / "1", forged))
    assert len({one.label.casefold() for one in found}) == 4
    assert {one.label for one in first} < {one.label for one in found}


def test_what_cannot_be_given(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.zip").write_bytes(b"PK")
    (tmp_path / "text.txt").write_bytes(b"")
    write(tmp_path / "other", {"README.md": b""})
    for name, sentence in (
        ("nowhere", "must be a folder or an archive"),
        ("text.txt", "must be a folder or an archive"),
        ("empty", "holds no notebooks"),
        ("other", "holds no notebooks"),
        ("bad.zip", "bad.zip cannot be graded: the archive is damaged"),
    ):
        with pytest.raises(ValueError, match=sentence):
            find(tmp_path / name)


def test_results_in_the_folder_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"a.ipynb": RIGHT, "graded/x.ipynb": RIGHT})
    assert by_label(find(tmp_path, tmp_path / "graded")) == {"a": "a"}


def test_a_large_class_is_read_in_one_pass(tmp_path: Path) -> None:
    files = {f"s{i:04}_{i}_{i}_hw.ipynb": b"%d" % i for i in range(800)}
    (tmp_path / "x.zip").write_bytes(zipped(files))
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(tarred(files)))
    for path in tmp_path.iterdir():
        found = find(path)
        assert [int(content(one)) for one in found] == list(range(800))
