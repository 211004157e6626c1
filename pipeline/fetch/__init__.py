from pipeline.fetch.base import Fetched, FetchLimits
from pipeline.fetch.fetcher import Fetcher
from pipeline.fetch.media_files import HeldFile, MediaFiles
from pipeline.fetch.policy import FetchPolicy

__all__ = ["FetchLimits", "FetchPolicy", "Fetched", "Fetcher", "HeldFile", "MediaFiles"]
