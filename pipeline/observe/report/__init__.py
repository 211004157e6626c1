from pipeline.observe.report.model import Report
from pipeline.observe.report.page import render

__all__ = ["Report", "render"]
