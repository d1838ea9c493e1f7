"""Formats of exported models, one file for each."""
