"""Python sources as one zip archive that Python runs, byte-identical from build to build."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

__all__ = ["zip_archive"]

_EPOCH = (1980, 1, 1, 0, 0, 0)


def zip_archive(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The members by their names in the archive, in the order of these, without times."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as file:
        for name, data in sorted(members.items()):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            file.writestr(info, data, compression)
    return archive.getvalue()
