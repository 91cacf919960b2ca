"""Connections and settings, read where they are used."""
