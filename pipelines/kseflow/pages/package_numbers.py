"""The numbers of export packages that several sections tell: one query each, so they agree."""

from kseflow.pages.chosen import Marts
from kseflow.words import Rate

CAPS = {"by count": "by_count", "by size": "by_size", "near neither cap": "by_unknown"}
"""How a package was cut off, and the column that counts it."""

DAILY_PACKAGES_SQL = """
select
    day,
    sum(package_count)::bigint as packages,
    sum(built_count)::bigint as built,
    sum(truncated_count)::bigint as truncated,
    sum(truncated_by_count_count)::bigint as by_count,
    sum(truncated_by_size_count)::bigint as by_size,
    sum(truncated_by_unknown_count)::bigint as by_unknown,
    max(max_count_cap_share) as max_count_cap_share,
    sum(mean_count_cap_share * built_count) / nullif(sum(built_count), 0) as mean_count_cap_share,
    max(max_size_cap_share) as max_size_cap_share,
    sum(mean_size_cap_share * built_count) / nullif(sum(built_count), 0) as mean_size_cap_share
from marts.package_truncation
where chosen(context_id, day)
group by day
order by day
"""

FULLEST_SQL = """
select context_id, subject_type, day, invoice_count, size_bytes, count_cap_share, size_cap_share
from marts.packages
where chosen(context_id, day) and is_built
order by greatest(count_cap_share, size_cap_share) desc, day, context_id, subject_type
limit 10
"""

LAGS_SQL = """
select
    day,
    count(*) as packages,
    quantile_cont(hwm_lag_seconds, 0.5) as p50,
    quantile_cont(hwm_lag_seconds, 0.95) as p95
from marts.packages
where chosen(context_id, day) and hwm_lag_seconds is not null
group by rollup (day)
order by day
"""

WINDOWS_SQL = """
select
    context_id, subject_type, relation, difference_seconds, package_reference_number,
    timezone('Europe/Warsaw', requested_from) as begins
from marts.package_windows
where chosen(context_id, timezone('Europe/Warsaw', requested_at)::date) and relation != 'first'
order by requested_at
"""

BEHIND_SQL = """
select context_id, subject_type, day, exports_to_catch_up
from marts.package_truncation
where chosen(context_id, day)
qualify row_number() over (partition by context_id, subject_type order by day desc) = 1
order by exports_to_catch_up desc nulls first, context_id, subject_type
"""


def truncation_rate(marts: Marts) -> Rate:
    """Truncated of built packages."""
    daily = marts.frame(DAILY_PACKAGES_SQL)
    return Rate(int(daily["truncated"].sum()), int(daily["built"].sum()))


def which_caps(marts: Marts) -> str:
    """Say which caps cut packages off: 11 by count, 3 by size; empty when none did."""
    daily = marts.frame(DAILY_PACKAGES_SQL)
    counts = {name: int(daily[column].sum()) for name, column in CAPS.items()}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
