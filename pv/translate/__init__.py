"""Guest kernel code rewritten so that no privilege is needed to run it: the Python half of binary translation.

In reading order: policy (what becomes of each instruction), callouts (how the cache asks the monitor), sequences (what
stands in the cache instead of an instruction), block (a run of instructions, translated).
"""
