"""Query: the read path; partner request -> cache -> database."""
