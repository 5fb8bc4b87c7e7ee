"""Tests of reading the trail: filters, pages, cursors, statistics and the plans behind them."""
