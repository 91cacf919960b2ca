"""Real Airflow for tests, at four levels.  Take the cheapest one that shows what the test is about.

=======================================  ==========================  ====================================
Level                                    Shows                       Does not show
=======================================  ==========================  ====================================
``in_memory.InMemoryAirflow``            execute, templates, XCom,   scheduling, trigger run,
(milliseconds, no database)              Variables, Connections,     mapped expansion by upstream tasks
                                         deferral, retry state
``dag_run.run_dag`` (``dag.test()``;     mapped tasks, set-up and    ``defer(kwargs=...)`` (dropped by
tenths of a second after one migration)  teardown, retries, inline   ``dag.test()``), ``on_kill``, pools,
                                         triggers                    trigger time-outs, the executor
``stack.AirflowStack`` on SQLite         all that a user sees over   page rendering, latency under load
(about 10 to 15 s to start)              REST: four real processes
``stack.AirflowStack`` on PostgreSQL     the same, plus concurrent   page rendering
                                         writers
=======================================  ==========================  ====================================

``stack``, ``rest`` and ``postgres`` never import Airflow.  ``in_memory`` and ``dag_run`` do, and need the
environment of :func:`tests.harness.environment.library_environment` before they are imported.
"""
