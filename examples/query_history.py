"""Yesterday's calls by disposition, as a pandas table: clickhouse-driver and pandas.

python examples/query_history.py [HOST:PORT]    # default: that of `ringlog up`
"""

import sys

import clickhouse_driver

host, _, port = (sys.argv[1:] or ["127.0.0.1:19000"])[0].partition(":")
client = clickhouse_driver.Client(host, port=int(port), database="ringlog")

calls = client.query_dataframe(
    """
    select ifNull(disposition, state) as came_to, count() as calls,
           round(avg(dateDiff('second', answered_at, ended_at)), 1) as talked_s
    from calls
    where started_at > now() - interval 1 day
    group by came_to order by calls desc
    """
)
print(calls.to_string(index=False) if len(calls) else "no calls in the last 24 hours")
