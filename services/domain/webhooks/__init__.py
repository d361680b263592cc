"""Domain, webhooks: states of endpoints and deliveries, and the locks around them."""
