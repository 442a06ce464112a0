"""From a guest's file to an Image, and from an Image to the machine's memory. A format a file; sniff.py chooses."""

from pv.loaders.file import read_guest
from pv.loaders.image import Image, LoadError, Segment
from pv.loaders.sniff import load, sniff

__all__ = ["Image", "LoadError", "Segment", "load", "read_guest", "sniff"]
