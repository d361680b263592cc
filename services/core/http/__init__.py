"""Web: what every HTTP service of ours does alike; composed by each service's app.py."""
