"""From Databento market-by-order files to books, features and backtests."""
