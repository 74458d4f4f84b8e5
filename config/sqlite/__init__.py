"""Django's SQLite backend on an SQLite build without the WAL-reset corruption bug (3.7.0 to 3.51.2)."""
