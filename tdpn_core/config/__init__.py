"""Settings of a run: the schema and the families of networks."""
