"""`python -m services.webhooks PROGRAM ...`; the api's packages are loaded for the api only."""

import sys
from importlib import import_module

if __name__ == "__main__":
    api = sys.argv[1:] == ["api"]
    import_module(f"services.webhooks{'.api' if api else ''}.entry").main()
