"""Faster ways to run a trained model: 8-bit integers, fewer tokens, and the search for the fastest on this machine."""
