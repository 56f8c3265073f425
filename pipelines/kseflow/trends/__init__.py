"""What changed in the trend of failures: since when, because of what, and how sure that is.

`anomalies` is shared by the mart, the notebook, the report and the check, so that they agree.

Invoices fail by the session, so sessions are what is counted as independent. All days are tried
as turning points and the best is judged against exchanges of sessions within weekdays; nothing is
told that would be found in more than one of twenty worlds where nothing changed. What one session
or one day alone would say is named and left out, what came and has gone is no trend, and where
the data allow no verdict the sentence says so with both intervals.
"""

from kseflow.trends.anomaly import Anomaly, as_table
from kseflow.trends.inputs import WINDOW_DAYS, Inputs, read_inputs
from kseflow.trends.telling import anomalies

__all__ = ["WINDOW_DAYS", "Anomaly", "Inputs", "anomalies", "as_table", "read_inputs"]
