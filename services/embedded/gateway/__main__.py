"""Gateway: `python -m services.embedded.gateway` runs one node."""

from services.embedded.gateway.entry import main

if __name__ == "__main__":
    main()
