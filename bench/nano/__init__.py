"""Nanobenchmarks: what one sensitive operation costs, a row each, in the guest's own loop.

The rows are those of two studies that every later one is measured against: the seven of Adams and Agesen (ASPLOS 2006),
and the list of kvm-unit-tests' x86/vmexit.c. rows.py is the table, unmodified.py and paravirt.py have the guests' text.
"""
