from pipeline.fetch.base import Fetched, FetchLimits
from pipeline.fetch.fetcher import Fetcher
from pipeline.fetch.policy import FetchPolicy

__all__ = ["FetchLimits", "FetchPolicy", "Fetched", "Fetcher"]
