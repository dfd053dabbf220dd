"""How good a model is: scores over views, metrics of scores."""
