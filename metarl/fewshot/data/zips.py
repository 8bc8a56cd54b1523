"""Zip archives of strangers: what would fill the memory, or needs a password, is refused before it is read."""

import zipfile


def checked_members(archive: zipfile.ZipFile, suffix: str, most: int) -> list[str]:
    """The sorted names of the members that end so.

    Raises ``BadZipFile`` where one is encrypted or has more than ``most`` bytes. A member is read up
    to the size that the archive says it has, so a wrong size hides nothing.
    """
    chosen = sorted((each for each in archive.infolist() if each.filename.endswith(suffix)), key=lambda i: i.filename)
    for each in chosen:
        if each.flag_bits & 1:
            raise zipfile.BadZipFile(f"{each.filename} is encrypted")
        if each.file_size > most:
            raise zipfile.BadZipFile(f"{each.filename} has {each.file_size:,} bytes; {most:,} at most were expected")
    return [each.filename for each in chosen]
