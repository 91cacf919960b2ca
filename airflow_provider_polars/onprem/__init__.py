"""Configurations of the nodes of a Polars on-premises cluster: written, read and checked before anything starts."""
