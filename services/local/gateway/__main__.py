"""Gateway: `python -m services.local.gateway` runs one node."""

from services.local.gateway.entry import main

if __name__ == "__main__":
    main()
