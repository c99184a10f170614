"""The page on which a filter slides over a picture and every product of its dot products is shown."""

from fastconv.pages.explain_conv.page import render, save

__all__ = ["render", "save"]
