"""Do techniques agree on a guest? `pvkit check`: one run under each, what it left compared, the first difference named.

timing.py declares what time alone may change; traffic.py records devices from outside; state.py, memory.py and
observe.py say what a run left; compare.py finds the first difference, locate.py where it began; report.py says it.
"""

from pv.check.compare import Difference, compare
from pv.check.observe import Observation, Run, observe
from pv.check.timing import Ignored
from pv.check.verdict import Verdict, able_techniques, check

__all__ = ["Difference", "Ignored", "Observation", "Run", "Verdict", "able_techniques", "check", "compare", "observe"]
