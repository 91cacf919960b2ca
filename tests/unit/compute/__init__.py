"""Tests of what queries run on."""
