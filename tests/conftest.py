"""For all tests: whom they call is simulated, so they call at any hour of the day.

Tests of the law set `law` themselves.
"""

import os

os.environ["RINGLOG_LAW"] = "off"
