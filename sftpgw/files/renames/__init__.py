"""Renames: of a file, and of a directory with a journal.

A rename begins in `renamer`, which checks both names. It copies and deletes a file itself. For a
directory, `directory_rename` writes a journal (`journal`, whose rules are in `plan`), keeps other
renames away (`exclusion`), copies, and has `settler` carry out the outcome. `recovery` settles
the renames of processes that died: it undoes them, unless they had moved everything.
"""
