"""Bulk work's pages."""

from operations.admin import operations

__all__ = ["operations"]
