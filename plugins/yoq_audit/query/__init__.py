"""Reading the trail: filters, pages, statistics."""
