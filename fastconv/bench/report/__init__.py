"""What people read of a benchmark run: charts and one self-contained HTML page."""
