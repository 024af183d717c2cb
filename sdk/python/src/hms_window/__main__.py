"""`python -m hms_window`: see `build`."""

from .build import main

if __name__ == "__main__":
    main()
