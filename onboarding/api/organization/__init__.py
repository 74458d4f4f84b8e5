"""What an organization's administrators do by API: people, keys, mandates; and the audit of it all."""
