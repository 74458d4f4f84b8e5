#!/usr/bin/env python3
"""Django's command line for this service."""

import gc
import os
import sys


def main() -> None:
    """Run the command; a configuration that cannot be used ends it with one line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from config.env import ConfigurationError

    try:
        execute_from_command_line(sys.argv)
    except (ConfigurationError, ImproperlyConfigured) as error:
        sys.exit(f"Cannot start. {error}")
    finally:
        # Spares the end a last collection of all that was loaded: a second, and ten on a busy machine.
        gc.freeze()


if __name__ == "__main__":
    main()
