"""Settings of a run: the schema, the recipes, and the recipe that fits itself to the data."""
