"""The banner that clients are shown before they log in.

Knows: what RFC 4252, section 5.4, allows. Must not know: how it is sent.
"""

from __future__ import annotations

import unicodedata

from sftpgw.config.ini_file import Section
from sftpgw.model.units import KIB

LONGEST_BYTES = 16 * KIB
"""As it is sent. A client has to take it before it has logged in."""


def read_banner(section: Section, name: str) -> str:
    """The text of `banner_file`, with the line ends that the RFC asks for; empty after a fault.

    :param section: the section that names the file; takes the faults.
    :param name: the file, relative to the configuration's.
    """
    file = section.file.parent / name
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        section.fault("banner_file", f"{file} cannot be read: {error.strerror}")
        return ""
    except UnicodeDecodeError as error:
        section.fault("banner_file", f"{file} is not UTF-8 at byte {error.start}; save it as UTF-8")
        return ""
    if not text.strip():
        section.fault("banner_file", f"{file} is empty; leave the key out for no banner")
        return ""
    return _checked(section, str(file), text.rstrip("\n") + "\n")


def _checked(section: Section, file: str, text: str) -> str:
    banner = text.replace("\n", "\r\n")
    if len(banner.encode()) > LONGEST_BYTES:
        section.fault("banner_file", f"{file} is over {LONGEST_BYTES // KIB}KiB; shorten it")
        return ""
    for number, line in enumerate(text.split("\n"), start=1):
        for character in line.replace("\t", " "):
            if unicodedata.category(character) == "Cc":
                what = f"has the control character U+{ord(character):04X} in line {number}"
                section.fault("banner_file", f"{file} {what}; remove it")
                return ""
    return banner
