"""What a row of KSeF's answers looks like, and the dates that exports can go by."""

from typing import Any, Literal

Row = dict[str, Any]
DateType = Literal["PermanentStorage", "Invoicing", "Issue"]
