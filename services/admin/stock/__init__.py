"""Stock: products read and set, and the daily CSV import."""
