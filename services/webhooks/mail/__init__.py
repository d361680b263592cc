"""Mail: what technical contacts are told, kept until it was sent (W8)."""
