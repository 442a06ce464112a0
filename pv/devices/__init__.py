"""Chip models, a file each; pc.py alone knows how they are wired. A chip never imports the machine."""
