"""The fault matrix: every fault on every kind of compute, sync and deferred, against real Airflow processes.

``python -m tests.faults`` runs it. What is expected stands in the modules ``*_faults``, one table row for each fault;
what is measured comes from recorders, process tables, Airflow's REST API and the files that queries write.
"""
