"""What the suite `serving` needs: a model, its server, clients, and bad requests."""
