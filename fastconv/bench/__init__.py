"""The benchmark engine: cases, timing, and what a layer reaches."""
