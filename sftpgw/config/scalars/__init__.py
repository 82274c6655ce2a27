"""How single values are written in the ini files.

Knows: sizes, times, prefixes, names; for each what is wrong and what would be right.
Must not know: sections, keys or files.

Every parser takes the text of a value and raises ValueError in words for the person who
wrote it. None of them is given a secret.
"""
