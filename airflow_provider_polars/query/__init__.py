"""What to run and where its result goes: sources, sinks, options, results. Pure data; nothing runs here."""
