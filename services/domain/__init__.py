"""Domain: stock, events, states, redelivery and keys as more than one service uses them."""
