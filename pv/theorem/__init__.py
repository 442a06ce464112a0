"""Popek and Goldberg's theorem as a program: each privileged or sensitive instruction is run, and its class follows.

In reading order: cases (what runs), settings (what only a monitor may change), ground (where it runs), processor (the
bare engine), observe (what it did), classify (what follows), techniques (who handles it), manual (what ought to be),
report (how it is shown). classify, observe and techniques never see manual: an import contract holds it.
"""
