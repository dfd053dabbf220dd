"""Several processes that compute as one: where each stands, how they meet, are watched, are started and end."""
