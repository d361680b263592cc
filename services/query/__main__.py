"""`python -m services.query partner|internal`."""

from services.query.entry import main

if __name__ == "__main__":
    main()
