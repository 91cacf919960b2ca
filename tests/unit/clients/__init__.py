"""Tests of the small clients."""
