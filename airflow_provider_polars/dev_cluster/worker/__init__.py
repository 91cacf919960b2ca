"""A worker of the development cluster: it runs queries with the standard library, grpc and Polars alone.

Started by its path, ``python .../worker``, so that any interpreter will do; it imports nothing of the package around
it.
"""
