"""The benchmark engine: cases, timing, peers, roofline, report."""
