"""`python -m services.admin`."""

from services.admin.entry import main

if __name__ == "__main__":
    main()
