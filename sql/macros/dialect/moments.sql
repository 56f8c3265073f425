{# Days and instants. #}

{# The Europe/Warsaw day of an instant. #}
{% macro warsaw_day(instant) -%}
    {{ return(adapter.dispatch('warsaw_day', 'kseflow')(instant)) }}
{%- endmacro %}

{% macro default__warsaw_day(instant) -%}
    cast(timezone('Europe/Warsaw', {{ instant }}) as date)
{%- endmacro %}

{% macro spark__warsaw_day(instant) -%}
    cast(convert_timezone(current_timezone(), 'Europe/Warsaw', {{ instant }}) as date)
{%- endmacro %}

{% macro bigquery__warsaw_day(instant) -%}
    date({{ instant }}, 'Europe/Warsaw')
{%- endmacro %}

{% macro snowflake__warsaw_day(instant) -%}
    cast(convert_timezone('Europe/Warsaw', {{ instant }}) as date)
{%- endmacro %}

{% macro microseconds_between(earlier, later) -%}
    {{ return(adapter.dispatch('microseconds_between', 'kseflow')(earlier, later)) }}
{%- endmacro %}

{% macro default__microseconds_between(earlier, later) -%}
    datediff(microsecond, {{ earlier }}, {{ later }})
{%- endmacro %}

{% macro duckdb__microseconds_between(earlier, later) -%}
    date_diff('microsecond', {{ earlier }}, {{ later }})
{%- endmacro %}

{% macro postgres__microseconds_between(earlier, later) -%}
    cast(extract(epoch from ({{ later }}) - ({{ earlier }})) * 1000000 as bigint)
{%- endmacro %}

{% macro redshift__microseconds_between(earlier, later) -%}
    {{ kseflow.default__microseconds_between(earlier, later) }}
{%- endmacro %}

{% macro spark__microseconds_between(earlier, later) -%}
    (unix_micros({{ later }}) - unix_micros({{ earlier }}))
{%- endmacro %}

{% macro bigquery__microseconds_between(earlier, later) -%}
    timestamp_diff({{ later }}, {{ earlier }}, microsecond)
{%- endmacro %}

{# Seconds between two instants, from whole microseconds. #}
{% macro seconds_between(earlier, later) -%}
    ({{ kseflow.as_double(kseflow.microseconds_between(earlier, later)) }} / 1000000)
{%- endmacro %}

{# The seventh decimal of a moment's text, which no timestamp holds; 0 when it has fewer. #}
{% macro seventh_decimal(text) -%}
    coalesce(cast({{ kseflow.first_group(text, kseflow.literal('[.][0-9]{6}([0-9])')) }} as {{ kseflow.type('integer') }}), 0)
{%- endmacro %}

{% macro month_of(day) -%}
    {{ return(adapter.dispatch('month_of', 'kseflow')(day)) }}
{%- endmacro %}

{% macro default__month_of(day) -%}
    cast(date_trunc('month', {{ day }}) as date)
{%- endmacro %}

{% macro bigquery__month_of(day) -%}
    date_trunc({{ day }}, month)
{%- endmacro %}

{# The first day of the month after that of which `day` is the first. #}
{% macro next_month(day) -%}
    {{ return(adapter.dispatch('next_month', 'kseflow')(day)) }}
{%- endmacro %}

{% macro default__next_month(day) -%}
    cast({{ day }} + interval '1 month' as date)
{%- endmacro %}

{% macro spark__next_month(day) -%}
    add_months({{ day }}, 1)
{%- endmacro %}

{% macro bigquery__next_month(day) -%}
    date_add({{ day }}, interval 1 month)
{%- endmacro %}

{% macro days_after(day, days) -%}
    {{ return(adapter.dispatch('days_after', 'kseflow')(day, days)) }}
{%- endmacro %}

{% macro default__days_after(day, days) -%}
    ({{ day }} + {{ days }})
{%- endmacro %}

{% macro spark__days_after(day, days) -%}
    date_add({{ day }}, {{ days }})
{%- endmacro %}

{# An instant so many hours after another: days of 24 hours, whatever the session's time zone. #}
{% macro hours_after(instant, hours) -%}
    {{ return(adapter.dispatch('hours_after', 'kseflow')(instant, hours)) }}
{%- endmacro %}

{% macro default__hours_after(instant, hours) -%}
    ({{ instant }} + interval '{{ hours }} hours')
{%- endmacro %}

{% macro bigquery__hours_after(instant, hours) -%}
    timestamp_add({{ instant }}, interval {{ hours }} hour)
{%- endmacro %}

{# Behind a table: joins each of its rows with every day from `first` to `last`, which
   `day_of_row` names then. #}
{% macro join_each_day(first, last) -%}
    {{ return(adapter.dispatch('join_each_day', 'kseflow')(first, last)) }}
{%- endmacro %}

{% macro day_of_row(first) -%}
    {{ return(adapter.dispatch('day_of_row', 'kseflow')(first)) }}
{%- endmacro %}

{% macro default__day_of_row(first) -%}
    cast(days.day as date)
{%- endmacro %}

{% macro duckdb__join_each_day(first, last) -%}
    cross join unnest(generate_series({{ first }}, {{ last }}, interval 1 day)) as days (day)
{%- endmacro %}

{% macro postgres__join_each_day(first, last) -%}
    cross join generate_series(
        cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval '1 day') as days (day)
{%- endmacro %}

{% macro spark__join_each_day(first, last) -%}
    lateral view explode(case when {{ first }} <= {{ last }}
        then sequence({{ first }}, {{ last }}, interval 1 day) end) days as day
{%- endmacro %}

{% macro bigquery__join_each_day(first, last) -%}
    cross join unnest(generate_date_array({{ first }}, {{ last }})) as day
{%- endmacro %}

{% macro bigquery__day_of_row(first) -%}
    day
{%- endmacro %}

{% macro snowflake__join_each_day(first, last) -%}
    cross join lateral flatten(
        input => array_generate_range(0, datediff(day, {{ first }}, {{ last }}) + 1)) as days
{%- endmacro %}

{% macro snowflake__day_of_row(first) -%}
    ({{ first }} + cast(days.value as integer))
{%- endmacro %}

{# Of the numbers up to 9999, for a warehouse that makes none. #}
{% macro redshift__join_each_day(first, last) -%}
    inner join (
        select ones.n + 10 * tens.n + 100 * hundreds.n + 1000 * thousands.n as n
        from
            {%- for place in ['ones', 'tens', 'hundreds', 'thousands'] %}
            {{ 'cross join ' if not loop.first -}}
            ({% for n in range(10) %}select {{ n }} as n{{ ' union all ' if not loop.last }}{% endfor %}) as {{ place }}
            {%- endfor %}
    ) as days on days.n <= datediff(day, {{ first }}, {{ last }})
{%- endmacro %}

{% macro redshift__day_of_row(first) -%}
    ({{ first }} + days.n)
{%- endmacro %}

{# The frame of a window over days: so many days before and the day itself. #}
{% macro within_days(day, days) -%}
    {{ return(adapter.dispatch('within_days', 'kseflow')(day, days)) }}
{%- endmacro %}

{% macro default__within_days(day, days) -%}
    order by {{ day }} range between interval '{{ days }} days' preceding and current row
{%- endmacro %}

{% macro bigquery__within_days(day, days) -%}
    order by unix_date({{ day }}) range between {{ days }} preceding and current row
{%- endmacro %}

{# Which has no such range: right where every day has one row. #}
{% macro redshift__within_days(day, days) -%}
    order by {{ day }} rows between {{ days }} preceding and current row
{%- endmacro %}
