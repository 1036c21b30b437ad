import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from images import png  # type: ignore[import-not-found]
from mscon.data.cache import load_pixels
from mscon.data.catalog import Catalog
from mscon.data.room import allowed
from mscon.errors import UserError

BYTES = 10 * 32 * 32 * 3
