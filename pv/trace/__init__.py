"""Watching exits from outside: wrappers put around the table's handlers when a machine asks for them."""

from pv.trace.text import Sink, wrap_rows

__all__ = ["Sink", "wrap_rows"]
