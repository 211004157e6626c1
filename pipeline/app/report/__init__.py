from pipeline.app.report.gather import gather, report_lake, write_report

__all__ = ["gather", "report_lake", "write_report"]
