"""The files that operators copy: the service, the proxies, the alerts."""
