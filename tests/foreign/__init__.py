"""The log under the eyes of somebody else's software: Go's own library for transparent logs."""
