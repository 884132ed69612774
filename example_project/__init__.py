"""A site that uses tap_provider: settings, addresses, the demo command, and a relying party of its own process."""
