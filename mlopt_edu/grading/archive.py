"""Zip and tar archives from strangers, read member by member and never extracted.

A member's name is only ever a label: nothing is written to a path, so a name with
`..` leads nowhere; it is refused all the same, because no honest tool writes it. The
limits hold before anything is unpacked: the size of the directory, the number of
members, the size of each, what they come to together, and how far each was squeezed.
Unpacking stops at the size that a member declared.

Formats: PKWARE's APPNOTE.TXT 6.3 (zip; end of central directory in 4.3.16); pax and
ustar in POSIX.1-2017, "pax" (tar), as Python's zipfile and tarfile read them.
"""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, BinaryIO

from .untrusted import MAX_FILE, UnreadableError, too_large

MAX_MEMBERS = 100_000
MAX_DIRECTORY = 16 * 2**20  # bytes of a zip's list of members
MAX_TOTAL = 8 * 2**30  # bytes of all members together
MAX_STEP = 32 * 2**20  # bytes that a tar may have read at once: its headers lie too
MAX_RATIO = 300  # a notebook shrinks 3 to 30 times
BROKEN = "the archive is damaged; make it again, or hand in the notebook itself"

_SUFFIXES = (
    ".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz"
)  # fmt: skip
_FOREIGN = (".rar", ".7z")
_PACKED: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZ": bz2.BZ2File,
    b"\xfd7": lzma.LZMAFile,
}


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: Its path with forward slashes, without a root.
        problem: Why it is not read, or "".
    """

    name: str
    problem: str = ""


def is_archive(name: str) -> bool:
    """Return whether a file name is an archive's, readable here or not."""
    return bool(archive_stem(name))


def archive_stem(name: str) -> str:
    """Return an archive's name without its suffix, "" if it is no archive's name.

    Example:
        >>> archive_stem("ada.tar.gz"), archive_stem("ada.ipynb")
        ('ada', '')
    """
    lower = name.lower()
    found = [suffix for suffix in (*_SUFFIXES, *_FOREIGN) if lower.endswith(suffix)]
    return name[: -max(map(len, found))] if found else ""


class Archive:
    """An open archive.

    Args:
        file: Its content; closed with the archive.
        name: Its file name.

    Raises:
        UnreadableError: If it is no archive, is damaged, or is too large.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._lock = threading.Lock()  # for the file's position
        if name.lower().endswith(_FOREIGN):
            file.close()
            kind = name[-3:].upper().lstrip(".")
            raise UnreadableError(
                f"a {kind} archive cannot be read here; hand in the notebook or a zip"
            )
        try:
            start = file.read(2)
            file.seek(0)
            if start == b"PK":
                self._open_zip()
            else:
                self._open_tar(start)
        except UnreadableError:
            self.close()
            raise
        except Exception:  # zipfile and tarfile raise a dozen types on a broken file
            self.close()
            raise UnreadableError(BROKEN) from None

    @property
    def members(self) -> list[Member]:
        """The files in it, in the order of the archive; the last of a name counts."""
        return [Member(name, self._problem(name)) for name in self._infos]

    def read(self, name: str, *, limit: int = MAX_FILE) -> bytes:
        """Return the content of a member.

        Raises:
            UnreadableError: If it has a problem, or is larger than `limit`.
        """
        if problem := self._problem(name, limit):
            raise UnreadableError(problem)
        info = self._infos[name]
        try:
            with self._lock, self._stream(info) as stream:
                data = stream.read(limit + 1)
        except UnreadableError:
            raise
        except Exception:
            raise UnreadableError(BROKEN) from None
        if len(data) > limit:
            raise too_large(limit)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __del__(self) -> None:
        self.close()

    def _open_zip(self) -> None:
        _check_directory(self._file)
        self._zip = zipfile.ZipFile(self._file)
        self._set(
            [
                (info.filename, info.file_size, info)
                for info in self._zip.infolist()
                if not info.is_dir()
            ]
        )

    def _open_tar(self, start: bytes) -> None:
        packed = _PACKED.get(start)
        plain: IO[bytes] = self._file if packed is None else packed(self._file)
        self._tar = tarfile.TarFile(fileobj=_Bounded(plain))
        infos: list[tuple[str, int, tarfile.TarInfo | zipfile.ZipInfo]] = []
        for info in self._tar:
            if not info.isdir():
                infos.append((info.name, info.size, info))
            if len(infos) > MAX_MEMBERS:
                break
        self._set(infos)

    def _set(
        self, infos: list[tuple[str, int, tarfile.TarInfo | zipfile.ZipInfo]]
    ) -> None:
        if len(infos) > MAX_MEMBERS:
            raise UnreadableError(f"the archive holds more than {MAX_MEMBERS:,} files")
        if sum(size for _, size, _ in infos) > MAX_TOTAL:
            raise UnreadableError(
                f"the archive unpacks to more than {MAX_TOTAL // 2**30} GB"
            )
        self._infos = {_name(name): info for name, _, info in infos}

    def _problem(self, name: str, limit: int = MAX_FILE) -> str:
        info = self._infos[name]
        if ".." in PurePosixPath(name).parts:
            return "its name leads out of the archive"
        size = info.size if isinstance(info, tarfile.TarInfo) else info.file_size
        if size > limit:
            return str(too_large(limit))
        if isinstance(info, tarfile.TarInfo):
            return "" if info.isreg() else "it is a link or device, not a file"
        if info.flag_bits & 1:
            return "it is encrypted; hand it in without a password"
        if (info.external_attr >> 28) == 0o12:
            return "it is a symbolic link, not a file"
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return "it is compressed in an unusual way; make an ordinary zip"
        if size > 2**20 and size > MAX_RATIO * info.compress_size:
            return "it unpacks to far more than a notebook does"
        return ""

    def _stream(self, info: tarfile.TarInfo | zipfile.ZipInfo) -> IO[bytes]:
        if isinstance(info, zipfile.ZipInfo):
            return self._zip.open(info)
        stream = self._tar.extractfile(info)
        assert stream is not None  # a regular file, says `_problem`
        return stream


class _Bounded(io.RawIOBase):
    """Lets tarfile read an unpacked tar only in steps and up to a place."""

    def __init__(self, file: IO[bytes]) -> None:
        self._inner = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_STEP or self._inner.tell() > MAX_TOTAL:
            raise UnreadableError("the archive unpacks to more than it may")
        return self._inner.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset > MAX_TOTAL:
            raise UnreadableError("the archive unpacks to more than it may")
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()


def _check_directory(file: BinaryIO) -> None:
    """Refuse a zip whose list of members is a bomb: zipfile reads it at once."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 2**16 - 22 - 20 - 56))
    tail = file.read()
    file.seek(0)
    end = tail.rfind(b"PK\5\6")
    if end < 0 or end + 22 > len(tail):
        raise UnreadableError(BROKEN)
    (directory,) = struct.unpack_from("<L", tail, end + 12)
    # The sizes of zip64 stand in front, and count whenever they are there.
    if end >= 76 and tail[end - 20 :].startswith(b"PK\6\7"):
        (wide,) = struct.unpack_from("<Q", tail, end - 20 - 56 + 40)
        directory = wide if directory == 0xFFFFFFFF else max(wide, directory)
    if directory > MAX_DIRECTORY:
        raise UnreadableError("the archive holds more files than it may")


def _name(name: str) -> str:
    parts = [
        part for part in name.replace("\\", "/").split("/") if part not in ("", ".")
    ]
    return "/".join(parts) or "_"
