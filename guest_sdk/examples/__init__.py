"""Guests to read first."""
