"""Wires the parts together; decides nothing."""
