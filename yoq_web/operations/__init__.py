"""The one door: sensitive operations are authorized, performed, recorded and committed here."""
