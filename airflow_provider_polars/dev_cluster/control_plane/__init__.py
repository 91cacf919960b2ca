"""A control plane of Polars Cloud for development and tests, as far as its Python client can see it.

It is a stand-in: what the client sends and accepts is measured, what the service does beyond that is not known. An
"instance" that it starts is a development cluster on this machine.
"""
