"""What a query runs on: one frozen value per kind of compute, one file per kind."""
